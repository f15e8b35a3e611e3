"""Ports that are broken on purpose: each known way not to start is caught, and named.

The faults are data beside the ports (``firmware/ports/<folder>/faults.yaml``, see ``planted.py``),
so those of a new port are picked up by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boards import planted
from tests.boards.planted import Case
from tinyrobust import boards

CASES = planted.cases()
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Counter[tuple[str, bool]]]:
    """Counts what was caught and what was not, by board, and prints it at the end."""
    counts: Counter[tuple[str, bool]] = Counter()
    yield counts
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not counts:
        return
    names = sorted({board for board, _ in counts})
    rows = [(name, counts[name, True], counts[name, False]) for name in names]
    rows.append(("all boards", sum(r[1] for r in rows), sum(r[2] for r in rows)))
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        reporter.ensure_newline()
        for name, caught, missed in rows:
            reporter.write_line(f"{name}: {caught + missed} faults planted, {caught} caught")


@pytest.mark.parametrize("name", planted.virtual_boards())
def test_the_port_as_it_is_starts_speaks_hears_and_starts_again(name: str, tmp_path: Path) -> None:
    assert planted.run(name, tmp_path) == "sound"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_planted_fault_is_caught_and_named(
    case: Case, tmp_path: Path, tally: Counter[tuple[str, bool]]
) -> None:
    report = planted.run(case.board, tmp_path, case)
    caught = case.fault.caught in report and report != "sound"
    tally[case.board, caught] += 1
    assert caught, report


def test_every_port_of_a_virtual_board_has_planted_faults() -> None:
    """At least the faults that any family can have: a clock, a pin, and the core's."""
    with_faults = set(planted.files())
    ports = {boards.load(name).port for name in planted.virtual_boards()}
    assert ports <= with_faults, f"no faults.yaml in firmware/ports of {ports - with_faults}"
