"""An evaluation that is killed at its writes and goes on gives the unbroken one's report."""

from __future__ import annotations

from pathlib import Path

from tests.killed import alone

STRIDE = 17  # coprime to the moments of a write (3, 4, 5): each of them is tried


def test_killed_at_its_writes_it_goes_on_to_the_same_report(tmp_path: Path) -> None:
    assert int(alone("tests.evaluate.killed_evaluate", tmp_path, STRIDE)) >= 6
