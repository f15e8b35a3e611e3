"""Rules of virtual boards: what must hold at an access, on both kinds of hooks.

The small firmware is a list of accesses, so each test says what it does; both hooks must give the
same report. The real ports are tested against their boards' rules in tests/boards.
"""

from __future__ import annotations

import os
import re
import struct
from typing import Any

import pytest
from pydantic import ValidationError

from tinyrobust import boards
from tinyrobust.boards import Board
from tinyrobust.boards.schema import Condition, Need
from tinyrobust.errors import BoardError
from tinyrobust.virtual.faults import FaultReport
from tinyrobust.virtual.machine import Machine
from tinyrobust.virtual.peripherals import WAITS, register_map
from tinyrobust.virtual.terminal import Terminal

H743 = boards.load("nucleo-h743")
A, B, C = 0x50000000, 0x50000004, 0x50000008  # registers of the peripheral X
Y = 0x50001000
FLASH, RAM = H743.flash.origin, 0x20000000


def machine_board(**needs: Any) -> Board:
    """A board with the peripherals X (registers A, B, C) and Y (register D)."""
    registers = [{"name": n, "offset": 4 * i} for i, n in enumerate("ABC")]
    peripherals = [
        {"name": "X", "base": A, "size": 0x400, "registers": registers, **needs},
        {"name": "Y", "base": Y, "size": 0x400, "registers": [{"name": "D", "offset": 0}]},
        {"name": "SCS", "base": 0xE000E000, "size": 0x1000, "model": "armv7m-scs"},
    ]
    data = H743.as_dict() | {"unicorn": {"peripherals": peripherals}}
    return Board.model_validate(data)


def firmware(*accesses: tuple[str, int, int]) -> bytes:
    """Machine code that does ``(kind, address, value)`` one by one, then resets the chip: ``w`` is
    a write, ``r`` a read, ``l`` an endless loop of reads."""
    code, words = bytearray(), []

    def load(register: int, value: int) -> None:  # LDR Rt, [PC, #imm]: filled in below
        words.append((len(code), register, value))
        code.extend(b"\0\0")

    for kind, address, value in (*accesses, ("w", 0xE000ED0C, 0x05FA0004)):
        load(0, address)
        load(1, value)
        code += struct.pack("<H", 0x6001 if kind == "w" else 0x6802)  # STR R1 / LDR R2, [R0]
        if kind == "l":
            code += struct.pack("<H", 0xE7FD)  # B to the LDR
    code += struct.pack("<H", 0xE7FE)
    code += bytes(-len(code) % 4)
    start = 8
    for at, register, value in words:
        literal = start + len(code) - ((start + at + 4) & ~3)
        code[at : at + 2] = struct.pack("<H", 0x4800 | register << 8 | literal // 4)
        code += struct.pack("<I", value)
    return struct.pack("<II", RAM + 0x1000, FLASH + start | 1) + bytes(code)


def run(board: Board, *accesses: tuple[str, int, int]) -> FaultReport | None:
    """What the virtual board says of it; None when the firmware gets to its reset."""
    terminal = Terminal.open()
    try:
        machine = Machine(board, firmware(*accesses), terminal.device, strict=True)
        return machine.run(max_resets=0)
    finally:
        terminal.close()


def summary(board: Board, *accesses: tuple[str, int, int]) -> str:
    report = run(board, *accesses)
    return report.summary() if report else ""


CLOCK = {"of": "Y.D", "mask": 0x10, "why": "X has no clock"}


def test_a_peripheral_without_its_clock_is_named() -> None:
    board = machine_board(needs=[CLOCK])
    for access in (("r", B, 0), ("w", B, 1)):
        said = summary(board, access)
        assert "held in reset or has no clock" in said
        assert "X.B: X has no clock (Y.D bits 0x10 must be 0x10)" in said
        assert "write" in said if access[0] == "w" else "read" in said
    assert run(board, ("w", Y, 0x10), ("w", B, 1), ("r", A, 0)) is None
    assert "X has no clock" in summary(board, ("w", Y, 0x10), ("w", Y, 0), ("r", A, 0))


@pytest.mark.parametrize(
    ("condition", "good", "bad", "wanted"),
    [
        ({"mask": 0xF0, "value": 0x50}, [0x50, 0xF5F], [0x40, 0xF0], "must be 0x50"),
        ({"mask": 0xF0}, [0xF0, 0xFF], [0x70, 0], "must be 0xf0"),
        ({"mask": 0xF0, "at_least": 0x30}, [0x30, 0xF0], [0x20, 0x0F], "at least 0x30"),
        ({"mask": 0xF0, "at_most": 0x30}, [0x30, 0x0F], [0x40, 0xF0], "at most 0x30"),
        ({"at_least": 3, "at_most": 5}, [3, 5], [2, 6, 0xFFFFFFFF], "must be 0x3 to 0x5"),
    ],
)
def test_kinds_of_conditions(
    condition: dict[str, int], good: list[int], bad: list[int], wanted: str
) -> None:
    need = {"of": "Y.D", "on": ["C"], "access": "write", "why": "because", **condition}
    board = machine_board(needs=[need])
    for value in good:
        assert run(board, ("w", Y, value), ("w", C, 1)) is None
    for value in bad:
        said = summary(board, ("w", Y, value), ("w", C, 1))
        assert "not ready for it" in said and "X.C: because" in said and wanted in said
        assert run(board, ("w", Y, value), ("r", C, 1), ("w", B, 1)) is None  # not looked at


def test_only_when_all_of_when_hold_and_the_written_word_counts() -> None:
    need = {
        "on": ["A"], "access": "write", "of": "X.B", "mask": 1, "why": "first B",
        "when": [{"of": "X.A", "mask": 3, "value": 2}, {"of": "Y.D", "value": 7}],
    }  # fmt: skip
    board = machine_board(needs=[need])
    assert "first B" in summary(board, ("w", Y, 7), ("w", A, 2))
    assert run(board, ("w", Y, 6), ("w", A, 2)) is None
    assert run(board, ("w", Y, 7), ("w", A, 1)) is None
    assert run(board, ("w", Y, 7), ("w", B, 1), ("w", A, 2)) is None


def test_before_is_the_word_that_is_replaced() -> None:
    need = {"on": ["A"], "access": "write", "of": "X.A", "value": 1, "before": True,
            "when": [{"of": "X.A", "value": 2}], "why": "2 comes after 1"}  # fmt: skip
    board = machine_board(needs=[need])
    assert "2 comes after 1" in summary(board, ("w", A, 2))
    assert run(board, ("w", A, 1), ("w", A, 2)) is None


def test_conditions_see_bits_that_follow_others() -> None:
    board = machine_board(needs=[{"of": "X.B", "mask": 0x100, "on": ["C"], "why": "not ready"}])
    data = board.as_dict()
    data["unicorn"]["peripherals"][0]["registers"][1]["follows"] = [{"of": 0, "to": 8}]
    board = Board.model_validate(data)
    assert "not ready" in summary(board, ("w", C, 1))
    assert run(board, ("w", B, 1), ("w", C, 1)) is None


def test_firmware_that_waits_for_ever_is_told_for_what() -> None:
    report = run(machine_board(), ("w", B, 0x123), ("l", B, 0))
    assert report is not None and report.kind == "waiting" and report.address == B
    assert "X.B, which stays 0x123" in report.summary()


def test_reading_two_registers_in_turn_is_no_wait_for_one() -> None:
    reads = [("r", A, 0), ("r", B, 0)] * 20
    assert run(machine_board(), *reads) is None
    assert WAITS > 10_000  # ports try an oscillator for so long


def test_the_first_broken_need_is_told() -> None:
    first = {"of": "Y.D", "mask": 1, "why": "first"}
    second = {"of": "Y.D", "mask": 2, "why": "second"}
    board = machine_board(needs=[first, second])
    assert "first" in summary(board, ("w", A, 1))
    assert "second" in summary(board, ("w", Y, 1), ("w", A, 1))


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        (0, 0, "the initial stack pointer 0x00000000 is in no RAM"),
        (0, FLASH + 64, "is in no RAM"),
        (0, RAM + H743.memories[1].length + 4, "is in no RAM"),
        (1, FLASH + 8, r"vector 1 \(reset\), 0x08000008, has bit 0 clear"),
        (1, RAM + 1, "the reset vector is not in it"),
        (1, 0xFFFFFFFF, "the reset vector is not in it"),
    ],
)
def test_a_wrong_vector_table_is_named(word: int, value: int, said: str) -> None:
    image = bytearray(firmware())
    struct.pack_into("<I", image, 4 * word, value)
    device = os.open(os.devnull, os.O_RDWR)
    try:
        report = Machine(machine_board(), bytes(image), device).run()
    finally:
        os.close(device)
    assert report is not None
    assert re.search(said, report.summary())


@pytest.mark.parametrize(
    ("need", "message"),
    [
        ({"of": "Z.D", "why": "x"}, "no register Z.D"),
        ({"of": "Y.E", "why": "x"}, "no register Y.E"),
        ({"of": "Y.D", "on": ["Q"], "why": "x"}, "no register X.Q"),
    ],
)
def test_needs_of_registers_that_are_not_there(need: dict[str, Any], message: str) -> None:
    with pytest.raises(BoardError, match=message):
        register_map(machine_board(needs=[need]))


@pytest.mark.parametrize(
    "bad",
    [
        {"value": 1, "at_least": 1},
        {"mask": 1, "value": 2},
        {"mask": 0},
        {"of": "nothing"},
    ],
)
def test_conditions_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Condition.model_validate({"of": "Y.D", **bad})


def test_a_need_without_bounds_wants_all_bits() -> None:
    assert Need.model_validate({"of": "Y.D", "mask": 0x30}).bounds == (0x30, 0x30)
