"""Stage ``virtual``: the host build as a process whose standard streams are the terminal."""

from __future__ import annotations

import os
import signal

from tinyrobust.boards.schema import Board
from tinyrobust.errors import BuildError
from tinyrobust.virtual.child import Job, launch, tell, tell_fault
from tinyrobust.virtual.faults import TEXT, Fault, FaultReport
from tinyrobust.virtual.terminal import Terminal


def run(job: Job, board: Board, terminal: Terminal) -> None:
    """Run until the process ends."""
    program = job.flash or job.elf
    if program is None:
        raise BuildError(
            f"board {board.id} needs an executable to run",
            "build it: tinyrobust build --board host",
        )
    os.set_blocking(terminal.device, True)
    try:
        process = launch([program], stdin=terminal.device, stdout=terminal.device)
    except OSError as error:
        raise BuildError(
            f"cannot run {program}: {error.strerror}", "build it again: tinyrobust build"
        ) from error
    tell("ready", port=terminal.port, helper="process")
    _, said = process.communicate()
    last = said.decode(errors="replace").strip().splitlines()[-1:] or [""]
    if process.returncode < 0:
        detail = f"killed by {signal.Signals(-process.returncode).name}"
    else:
        detail = f"ended with status {process.returncode}"
    tell_fault(
        FaultReport(
            Fault.EXCEPTION.name.lower(),
            TEXT[Fault.EXCEPTION],
            0,
            "?",
            None,
            "",
            0,
            detail=f"{detail}: {last[0]}" if last[0] else detail,
        ),
        terminal,
    )
