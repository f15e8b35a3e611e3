"""Stage ``virtual``: run a board's flash content on Unicorn (see ``machine.py``)."""

from __future__ import annotations

from pathlib import Path

from tinyrobust.boards.schema import Board
from tinyrobust.virtual.child import Job, flash_content, tell, tell_fault
from tinyrobust.virtual.hooks import Clock
from tinyrobust.virtual.machine import Machine
from tinyrobust.virtual.terminal import Terminal


def run(job: Job, board: Board, terminal: Terminal) -> None:
    """Run until the firmware faults; every reset starts it again."""
    machine = Machine(
        board,
        flash_content(job),
        terminal.device,
        elf=Path(job.elf) if job.elf else None,
        strict=job.strict,
        overrides=dict(job.overrides),
        clock=Clock(job.clock),
    )
    tell("ready", port=terminal.port, helper=machine.hooks.kind)
    report = machine.run()
    if report is not None:
        tell_fault(report, terminal)
