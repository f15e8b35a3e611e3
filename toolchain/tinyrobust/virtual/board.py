"""Stage ``virtual``: start a virtual board and hold it.

In: a board, an image or a flash file. Out: a ``VirtualBoard`` with a port that any serial program
opens. The board runs in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from tinyrobust.boards.schema import Board
from tinyrobust.errors import EXIT_DEVICE, BoardError, BuildError, DeviceFault, TinyRobustError
from tinyrobust.virtual.child import Job
from tinyrobust.virtual.faults import FaultReport
from tinyrobust.virtual.hooks import Clock
from tinyrobust.virtual.injection import Injection, Profile
from tinyrobust.virtual.terminal import Terminal

_START_S = 60.0
_FAULT_S = 2.0  # how long a report may take after its terminal hung up


class Image(Protocol):
    """What is needed of ``image.Image``."""

    @property
    def elf(self) -> Path: ...
    @property
    def bin(self) -> Path: ...


class VirtualBoard:
    """A running virtual board; a context manager.

    Leaving the context with an error while the board has faulted raises the fault instead, so
    that who talks to the board sees the cause and not a silent port.
    """

    def __init__(self, board: Board, job: Job, terminal: Terminal | None) -> None:
        self.board = board
        self._buffer = b""
        self._fault: FaultReport | None = None
        self._error: TinyRobustError | None = None
        self._ready: dict[str, Any] = {}
        self._injected = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tinyrobust.virtual.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            pass_fds=[fd for fd in (*(job.terminal or ()), job.gdb) if fd >= 0],
        )
        assert self._process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it died: _wait_ready says why
                self._process.stdin.write(job.encode())
                self._process.stdin.flush()
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def port(self) -> str:
        """Path of the serial port."""
        return str(self._ready["port"])

    @property
    def helper(self) -> str:
        """What runs it: ``native`` (Unicorn, hooks in C), ``qemu``, ``process``."""
        return str(self._ready["helper"])

    @property
    def pid(self) -> int:
        """The process that the board lives in."""
        return self._process.pid

    def is_alive(self) -> bool:
        """True while the firmware runs."""
        self._read(0)
        return self._fault is None and self._process.poll() is None

    def is_injected(self) -> bool:
        """Whether the injection has happened."""
        self._read(0)
        return self._injected

    def fault(self) -> FaultReport | None:
        """The report, when the firmware has faulted."""
        self._read(0)
        if self._fault is None and self._process.poll() is not None:
            self._read(_FAULT_S)
        return self._fault

    def raise_if_faulted(self, wait_s: float = 0.0) -> None:
        """Raise DeviceFault when the firmware has faulted, or does so within ``wait_s``."""
        self._read(wait_s)
        if report := self.fault():
            raise report.error()

    def stop(self) -> None:
        """End the board; its port hangs up. Doing so twice is fine."""
        process = self._process
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._read(0)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> VirtualBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        report = None
        if isinstance(error, (TinyRobustError, OSError)) and not isinstance(error, DeviceFault):
            self._read(0.2)
            report = self.fault()
        self.stop()
        if report is not None:
            raise report.error() from error

    # Events from the process.

    def _wait_ready(self) -> None:
        end = time.monotonic() + _START_S
        while not self._ready:
            if self._error is not None:
                raise self._error
            if not self._read(end - time.monotonic()) and not self._ready:
                raise self._error or self._died()

    def _died(self) -> TinyRobustError:
        if self._process.poll() is None:
            self._process.kill()
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        return BoardError(
            f"the virtual {self.board.id} did not start: {said[-1] if said else 'no message'}",
            "run tinyrobust doctor",
        )

    def _read(self, timeout_s: float) -> bool:
        """Take in events for at most ``timeout_s``; False when none came."""
        stream = self._process.stdout
        if stream is None or stream.closed:
            return False
        if not select.select([stream], [], [], max(0.0, timeout_s))[0]:
            return False
        data = os.read(stream.fileno(), 65536)
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            event = json.loads(line)
            match event.pop("event"):
                case "ready":
                    self._ready = event
                case "injected":
                    self._injected = True
                case "fault":
                    self._fault = FaultReport.from_dict(event["report"])
                case "error":
                    kind = BuildError if event["code"] == EXIT_DEVICE else BoardError
                    self._error = kind(event["message"], event["hint"])
        return bool(data)


def start(
    board: Board,
    image: Image | None,
    *,
    strict: bool = False,
    flash_file: Path | None = None,
    elf: Path | None = None,
    overrides: Mapping[int, int] | None = None,
    terminal: Terminal | None = None,
    clock: Clock | None = None,
    gdb: socket.socket | None = None,
    injection: Injection | None = None,
    profile: Profile | None = None,
) -> VirtualBoard:
    """Run ``image``, or what ``flash_file`` holds, on a virtual ``board``.

    ``elf`` (else the image's) names functions in fault reports. ``strict`` adds the checks of
    ``machine.py``; ``overrides`` changes reset values of
    registers by address, for example to be another silicon revision; ``terminal`` is one to use
    again. ``clock`` asks for a board that counts exactly, and says what its cycle counter counts:
    a board that QEMU models otherwise then runs on Unicorn, if its file has that section. ``gdb``
    is a socket that listens for a debugger: the board (QEMU's) waits for it, and may be empty.
    ``injection`` puts a fault in, ``profile`` counts blocks (Unicorn's boards; ``injection.py``).
    Raises BoardError when the board has no virtual kind, cannot count, or does not start, and
    BuildError when a program that it needs is missing, a C compiler above all.
    """
    if (injection or profile) and board.unicorn is None:
        raise BoardError(
            f"no fault can be put into board '{board.id}': it does not run on Unicorn",
            "choose a board with a 'unicorn' section in its YAML",
        )
    if board.virtual is None:
        raise BoardError(
            f"board {board.id} has no virtual board", "choose one with 'virtual' in its YAML"
        )
    if gdb is not None and board.virtual != "qemu":
        raise BoardError(f"the virtual {board.id} has no GDB stub", "only QEMU's boards have one")
    if image is None and flash_file is None and gdb is None:
        raise BoardError(f"nothing to run on the virtual {board.id}", "give an image")
    if clock is not None and board.unicorn is None:
        raise BoardError(
            f"nothing counts single instructions on board '{board.id}'",
            "choose a board with a 'unicorn' section in its YAML",
        )
    elf = elf or (image.elf if image else None)
    for file in (flash_file, elf):
        if file is not None and not file.is_file():
            raise BoardError(f"no such file: {file}", "build it again: tinyrobust build")
    flash, offset = flash_file, 0
    if flash is None and image is not None and board.virtual != "host":
        flash, offset = image.bin, board.image_origin - board.flash.origin
    job = Job(
        board=board.as_dict(),
        parent=os.getpid(),
        flash=str(flash) if flash else None,
        elf=str(elf) if elf else None,
        strict=strict,
        overrides=list((overrides or {}).items()),
        terminal=(terminal.device, terminal.user) if terminal else None,
        kind="unicorn" if clock is not None or injection or profile else "",
        clock=int(clock or 0),
        flash_offset=offset,
        injection=None if injection is None else asdict(injection),
        profile=None if profile is None else (str(profile.file), list(profile.ranges)),
        gdb=-1 if gdb is None else gdb.fileno(),
    )
    return VirtualBoard(board, job, terminal)
