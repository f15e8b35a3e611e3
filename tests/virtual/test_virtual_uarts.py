"""The UARTs of the nRF52840 and the PL011 on virtual boards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.graphs import tiny_graph
from tests.patience import PATIENCE_S
from tinyrobust import boards, device, graph, image, virtual
from tinyrobust.boards import Board
from tinyrobust.errors import BoardError, LinkError
from tinyrobust.virtual.peripherals import register_map

NANO, PICO = "arduino-nano-33-ble", "raspberry-pi-pico"

# What Arduino's bootloader and a less careful one may leave on (firmware/ports/nrf52/quiet.cpp).
LEFT_ON = {
    0x40002500: 8, 0x4000250C: 6, 0x40002524: 0x10000000, 0x4000256C: 1, 0x40003500: 7,
    0x40028500: 8, 0x40027500: 1, 0x40027504: 1, 0x4000055C: 0x10000, 0x40000000: 1,
}  # fmt: skip


@pytest.fixture(scope="module", params=[NANO, PICO])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    board = boards.load(request.param)
    folder = tmp_path_factory.mktemp(board.id) / "build"
    return board, image.build(tiny_graph(), board, folder, model_name="tiny")


def answers(
    board: Board, made: image.Image, left: Mapping[int, int] | None = None
) -> tuple[list[int], int]:
    x = np.random.default_rng(2).integers(0, 256, (2, *tiny_graph().input.shape), dtype=np.uint8)
    with (
        virtual.start(board, made, strict=True, overrides=left) as run,
        device.Session.open(run.port, timeout_s=PATIENCE_S, fault=run.raise_if_faulted) as session,
    ):
        found = session.infer_many(x)
        assert np.array_equal(found.scores, graph.run(tiny_graph(), x))
        return [int(c) for c in found.cycles], session.baud


def test_it_hears_speaks_and_negotiates_its_rate(built: Any) -> None:
    board, made = built
    assert answers(board, made)[1] == board.serial.baud_max  # negotiated up, on both ends


def test_what_a_bootloader_left_on_does_not_matter(built: Any) -> None:
    board, made = built
    if board.id == NANO:
        assert answers(board, made, LEFT_ON)[0] == answers(board, made)[0]


def test_a_watchdog_that_runs_is_fed(built: Any) -> None:
    """Every reload register that is enabled, and no other: the others are not modelled here."""
    board, made = built
    if board.id != NANO:
        return
    answers(board, made, {0x40010400: 1})
    with pytest.raises(Exception, match="WDT"):  # RR1 is not there: strict mode says who wrote it
        answers(board, made, {0x40010400: 1, 0x40010508: 3})


def test_another_rate_garbles_in_strict_mode(tmp_path: Path) -> None:
    """A UART whose clock is not what the port thinks speaks, but nobody understands it."""
    board = boards.load(PICO)
    assert board.unicorn is not None
    slower = [
        p.model_copy(update={"clock_hz": 125_000_000}) if p.name == "UART0" else p
        for p in board.unicorn.peripherals
    ]
    other = board.model_copy(
        update={"unicorn": board.unicorn.model_copy(update={"peripherals": slower})}
    )
    made = image.build(tiny_graph(), board, tmp_path / "b", model_name="tiny")
    with (
        virtual.start(other, made, strict=True) as run,
        pytest.raises(LinkError),
        device.Session.open(run.port, timeout_s=0.3, fault=run.raise_if_faulted),
    ):
        pass


def test_bits_that_depend_on_each_other_are_refused() -> None:
    board = boards.load(PICO)
    data = board.as_dict()
    xosc = next(p for p in data["unicorn"]["peripherals"] if p["name"] == "XOSC")
    xosc["registers"][1]["shows"][0]["when"].append({"of": "PLL_SYS.CS", "mask": 1})
    with pytest.raises(BoardError, match="depends on itself"):
        register_map(Board.model_validate(data, strict=False))
    xosc["registers"][1]["shows"][0]["when"] = [{"of": "XOSC.CTRLS"}]
    with pytest.raises(BoardError, match=r"no register XOSC\.CTRLS.*did you mean"):
        register_map(Board.model_validate(data, strict=False))
