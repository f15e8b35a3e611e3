"""Stage ``virtual``: run a board's flash content on Unicorn (see ``machine.py``)."""

from __future__ import annotations

from pathlib import Path

from tinyrobust.boards.schema import Board
from tinyrobust.virtual.child import Job, flash_content, tell, tell_fault
from tinyrobust.virtual.hooks import Clock
from tinyrobust.virtual.injection import Injection, Profile, inject, profile
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
    kept = None
    if job.injection is not None:
        inject(machine.engine, Injection.from_dict(job.injection), lambda: tell("injected"))
    if job.profile is not None:
        file, ranges = job.profile
        kept = profile(machine.engine, Profile(Path(file), tuple((a, n) for a, n in ranges)))
    tell("ready", port=terminal.port, helper=machine.hooks.kind)
    report = machine.run()
    del kept  # the hooks are over
    if report is not None:
        tell_fault(report, terminal)
