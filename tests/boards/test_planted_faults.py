"""Ports that are broken on purpose: each known way not to start is caught, and named.

The faults are data beside the ports (``firmware/ports/<folder>/faults.yaml``, see ``planted.py``),
so those of a new port are picked up by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.boards import planted
from tests.boards.planted import Case
from tinyrobust import boards
from tinyrobust.boards.schema import Follow, Register

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


def oscillators(name: str) -> Register | None:
    """RCC_CR of an STM32, if HSERDY follows HSEON there."""
    board = boards.load(name)
    assert board.unicorn is not None
    rows = [r for p in board.unicorn.peripherals if p.name == "RCC" for r in p.registers]
    return next((r for r in rows if r.name == "CR" and HSERDY in r.follows), None)


HSERDY = Follow(of=16, to=17)
STM32 = [name for name in planted.virtual_boards() if oscillators(name)]


@pytest.mark.parametrize("name", STM32)
def test_an_stm32_starts_without_its_external_clock(name: str, tmp_path: Path) -> None:
    """HSERDY never comes: the PLL runs from the internal oscillator, at the same rate."""
    row, rcc = oscillators(name), "unicorn.peripherals.RCC.registers"
    assert row is not None
    follows = [f.model_dump() for f in row.follows if f != HSERDY]
    facts: dict[str, Any] = {f"{rcc}.CR.follows": follows}
    if row.reset & 1 << 16:  # a bootloader has found none either, and uses HSI
        facts |= {f"{rcc}.CR.reset": row.reset & ~(1 << 16), f"{rcc}.PLLCKSELR.reset": 0x02020280}
    assert planted.boot(planted.changed(boards.load(name), facts), tmp_path) == "sound"


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
