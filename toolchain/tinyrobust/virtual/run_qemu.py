"""Stage ``virtual``: a board that QEMU models, with its first UART joined to the terminal.

In: the ELF (or the flash content, for a board that was flashed). Out: the same events as the
other kinds. ``-icount shift=0`` makes time a count of instructions, so runs repeat exactly. Our
firmware takes no interrupts, so every exception that QEMU logs is a fault; its registers are in the
log. A polling firmware would burn a core for ever, so a board that has answered and hears nothing
is slowed down until the next byte comes.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, TextIO

from tinyrobust.boards.schema import Board
from tinyrobust.errors import BuildError
from tinyrobust.virtual.child import Job, launch, tell, tell_fault
from tinyrobust.virtual.faults import TEXT, Fault, FaultReport, Symbols
from tinyrobust.virtual.terminal import Terminal

_QUIET_S = 2.0  # after so long without traffic a board that spoke last is slowed down
_REST_S, _STEP_S = 0.09, 0.01
_GIVE_UP_S = 5.0
_LOG_BYTES = 1 << 20
_PAUSE_S = 0.05  # what else of the log belongs to the fault

_TAKING = re.compile(r"Taking exception \d+ \[([^\]]+)\]")
_ADDRESS = re.compile(r"at fault address 0x([0-9a-fA-F]+)")
_REGISTER = re.compile(r"\b(R\d\d|XPSR)=([0-9a-fA-F]{8})")
_WORDS = re.compile(r"0x([0-9a-fA-F]{8})\b")
# QEMU, target/arm/m_helper.c: names of exceptions and the status bits it adds.
_KINDS = (
    ("UNALIGNED", Fault.MISALIGNED),
    ("DIVBYZERO", Fault.DIVISION),
    ("NOCP", Fault.NO_FPU),
    ("Breakpoint", Fault.BREAKPOINT),
    ("SVC", Fault.SUPERVISOR_CALL),
    ("Undefined", Fault.UNDEFINED),
    ("DACCVIOL", Fault.PROTECTION),
    ("IACCVIOL", Fault.EXECUTION),
    ("Prefetch Abort", Fault.EXECUTION),
    ("BFSR", Fault.UNMAPPED),
    ("PRECISERR", Fault.UNMAPPED),
)


def run(job: Job, board: Board, terminal: Terminal) -> None:
    """Run until QEMU ends or the firmware takes an exception."""
    program = shutil.which("qemu-system-arm")
    if program is None:
        raise BuildError(
            f"the virtual {board.id} needs qemu-system-arm", "apt-get install qemu-system-arm"
        )
    ours, theirs = socket.socketpair()
    command = [
        program, "-machine", str(board.qemu_machine),
        "-icount", "shift=0", "-display", "none", "-serial", "stdio", "-d", "int,guest_errors",
        "-chardev", f"socket,id=monitor,fd={theirs.fileno()}", "-mon", "monitor,mode=control",
    ]  # fmt: skip
    if job.flash or job.elf:
        command += ["-kernel", str(job.flash or job.elf)]
    descriptors = [theirs.fileno()]
    if job.gdb >= 0:  # halted until a debugger lets it go
        command += ["-S", "-gdb", "chardev:gdb",
                    "-chardev", f"socket,id=gdb,fd={job.gdb},server=on,wait=off"]  # fmt: skip
        descriptors.append(job.gdb)
    process = launch(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=tuple(descriptors)
    )
    theirs.close()
    tell("ready", port=terminal.port, helper="qemu")
    log = _Pump(process, terminal, halted=job.gdb >= 0).run()
    report = _report(log, process, ours, Symbols(Path(job.elf) if job.elf else None))
    tell_fault(report, terminal)


class _Pump:
    """Carries bytes between QEMU's standard streams and the terminal until a fault."""

    def __init__(
        self, process: subprocess.Popen[bytes], terminal: Terminal, *, halted: bool = False
    ) -> None:
        assert process.stdin and process.stdout and process.stderr
        self._pid = process.pid
        self._input, self._output = process.stdin.fileno(), process.stdout.fileno()
        self._log = process.stderr.fileno()
        self._terminal = terminal.device
        self._said = b""
        # A halted board burns nothing, and a debugger must not be slowed down.
        self._heard_at = float("inf") if halted else time.monotonic()
        self._resting = False

    def run(self) -> str:
        """The log, once it tells of an exception or QEMU has ended."""
        while True:
            quiet = time.monotonic() - self._heard_at > _QUIET_S
            wait = (_REST_S if self._resting else _STEP_S) if quiet else 0.5
            sources = [self._terminal, self._output, self._log]
            ready = select.select(sources, [], [], wait)[0]
            if self._terminal in ready:
                self._rest(False)
                self._heard_at = float("inf")  # it works until it answers
                _send(self._input, os.read(self._terminal, 4096))
            if self._output in ready:
                self._heard_at = time.monotonic()
                _send(self._terminal, os.read(self._output, 4096), give_up_s=_GIVE_UP_S)
            if self._log in ready:
                text = os.read(self._log, 65536)
                self._said += text
                if not text or _TAKING.search(self._said.decode(errors="replace")):
                    return self._finish()
            if not ready and quiet:
                self._rest(not self._resting)

    def _rest(self, resting: bool) -> None:
        if resting != self._resting:
            os.kill(self._pid, signal.SIGSTOP if resting else signal.SIGCONT)
            self._resting = resting

    def _finish(self) -> str:
        self._rest(False)
        while select.select([self._log], [], [], _PAUSE_S)[0]:
            text = os.read(self._log, 65536)
            if not text or len(self._said) > _LOG_BYTES:
                break
            self._said += text
        return self._said.decode(errors="replace")


def _send(to: int, data: bytes, give_up_s: float = float("inf")) -> None:
    """Write everything; when nobody reads for ``give_up_s`` let it go, as a wire would."""
    end = time.monotonic() + give_up_s
    while data and time.monotonic() < end:
        if select.select([], [to], [], 0.1)[1]:
            try:
                data = data[os.write(to, data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return


def _report(
    log: str, process: subprocess.Popen[bytes], monitor: socket.socket, symbols: Symbols
) -> FaultReport:
    taken = _TAKING.search(log)
    if taken is None:
        lines = [line for line in log.strip().splitlines() if "Loaded reset" not in line]
        text = f"QEMU ended with status {process.wait()}"
        detail = lines[-1] if lines else ""
        return FaultReport(Fault.EXCEPTION.name.lower(), text, 0, "?", None, "", 0, detail=detail)
    story = log[taken.start() :].split("Taking exception", 2)[1]
    kind = next((fault for word, fault in _KINDS if word in story), Fault.EXCEPTION)
    registers = _frame(monitor)
    pc = registers.get("pc", 0)
    found = _ADDRESS.search(story)
    return FaultReport(
        kind.name.lower(), TEXT[kind], pc, symbols.function(pc),
        int(found.group(1), 16) if found else None, "", 0, registers,
        caller=symbols.function(registers.get("lr", 0)).replace("?", ""),
        detail=f"QEMU: {taken.group(1)}" + (f", address 0x{found.group(1)}" if found else ""),
    )  # fmt: skip


def _frame(monitor: socket.socket) -> dict[str, int]:
    """Registers at the exception: those the processor stacked (DDI0403 B1.5.6), and the rest."""
    monitor.settimeout(1.0)
    try:
        with monitor.makefile("rw") as stream:
            stream.readline()  # greeting
            _ask(stream, "qmp_capabilities")
            _ask(stream, "stop")
            now = {
                name: int(value, 16)
                for name, value in _REGISTER.findall(_monitor(stream, "info registers"))
            }
            stack = now["R13"]
            words = [
                int(word, 16)
                for line in _monitor(stream, f"xp /8wx {stack:#x}").splitlines()
                for word in _WORDS.findall(line.partition(":")[2])
            ]
    except (OSError, ValueError, KeyError):
        return {}
    if len(words) != 8:
        return {}
    registers = dict(zip(("r0", "r1", "r2", "r3", "r12", "lr", "pc", "xpsr"), words, strict=True))
    registers |= {f"r{i}": now[f"R{i:02d}"] for i in range(4, 12)}
    registers["sp"] = stack + 32
    order = [*(f"r{i}" for i in range(13)), "sp", "lr", "pc", "xpsr"]
    return {name: registers[name] for name in order}


def _ask(stream: TextIO, command: str, **arguments: str) -> Any:
    """One QMP command (QEMU, docs/interop/qmp-spec); its result."""
    stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    stream.flush()
    while True:
        answer = json.loads(stream.readline())
        if "return" in answer or "error" in answer:
            return answer.get("return")


def _monitor(stream: TextIO, line: str) -> str:
    return str(_ask(stream, "human-monitor-command", **{"command-line": line}))
