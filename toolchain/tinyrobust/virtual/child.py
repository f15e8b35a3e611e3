"""Stage ``virtual``: the process that a virtual board lives in.

In: one line of JSON on standard input (a ``Job``). Out: lines of JSON on standard output:
``ready`` with the port, ``fault`` with a report, ``error``. The process ends with its board, when
its standard input closes, and when its parent is gone: no virtual board outlives who started it.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tinyrobust.boards.schema import Board
from tinyrobust.errors import TinyRobustError
from tinyrobust.virtual.faults import FaultReport
from tinyrobust.virtual.flash_array import ERASED
from tinyrobust.virtual.terminal import Terminal

KINDS = {
    "unicorn": "tinyrobust.virtual.run_unicorn",
    "qemu": "tinyrobust.virtual.run_qemu",
    "host": "tinyrobust.virtual.run_host",
}
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Job:
    """What to run. ``flash`` is the content of the flash from ``flash_offset`` on, ``elf`` names
    functions (and is what QEMU and the host run); ``terminal`` holds inherited descriptors, or
    nothing."""

    board: dict[str, Any]
    parent: int
    flash: str | None
    elf: str | None
    strict: bool = False
    overrides: list[tuple[int, int]] = field(default_factory=list)
    terminal: tuple[int, int] | None = None
    kind: str = ""  # of virtual board, when not the board file's
    clock: int = 0  # a hooks.Clock
    flash_offset: int = 0
    injection: dict[str, Any] | None = None  # an injection.Injection
    profile: tuple[str, list[tuple[int, int]]] | None = None  # an injection.Profile
    gdb: int = -1  # descriptor of a socket that listens for a debugger; the board waits for it

    def encode(self) -> bytes:
        """The line on standard input."""
        return json.dumps(asdict(self)).encode() + b"\n"

    def load_board(self) -> Board:
        """The board, checked again."""
        return Board.model_validate_json(json.dumps(self.board))


def tell(event: str, **values: Any) -> None:
    """Send one event to the parent; a parent that is gone ends this process."""
    try:
        os.write(1, json.dumps({"event": event, **values}).encode() + b"\n")
    except OSError:
        leave(0)


def tell_fault(report: FaultReport, terminal: Terminal | None = None) -> NoReturn:
    """Send the report, then hang up ``terminal`` when what was said on it has been read."""
    tell("fault", report=report.as_dict())
    if terminal is not None:
        terminal.drain()
    leave(0)


def leave(code: int) -> NoReturn:
    """End now, and all children with it; threads and the emulator need no goodbye."""
    for process in _children:
        process.kill()
        process.wait()
    os._exit(code)


_children: list[subprocess.Popen[bytes]] = []


def launch(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
    """Start a child that ends with this process, however this process ends."""
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, preexec_fn=_die_with_parent, start_new_session=True, **how
    )
    _children.append(process)
    return process


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch(parent: int) -> None:
    """Leave when standard input closes or the parent is another one."""
    while True:
        readable = select.select([0], [], [], 1.0)[0]
        if (readable and not os.read(0, 4096)) or os.getppid() != parent:
            leave(0)


def main() -> None:
    """Read the job and run it to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            leave(0)
        line += piece
    job = Job(**json.loads(line))
    threading.Thread(target=_watch, args=(job.parent,), daemon=True).start()
    terminal = Terminal(*job.terminal) if job.terminal else Terminal.open()
    board = job.load_board()
    try:
        module = importlib.import_module(KINDS[job.kind or str(board.virtual)])
        module.run(job, board, terminal)
    except TinyRobustError as error:
        tell("error", message=error.message, hint=error.hint, code=error.exit_code)
    leave(0)


def flash_content(job: Job) -> bytes:
    """The bytes of the job's flash, from its origin on; erased where the file has none."""
    if not job.flash:
        return b""
    return bytes([ERASED]) * job.flash_offset + Path(job.flash).read_bytes()


if __name__ == "__main__":
    main()
