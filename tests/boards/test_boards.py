"""Board files: what comes with tinyrobust loads; what is wrong is named with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinyrobust import boards, resources
from tinyrobust.boards.schema import Board
from tinyrobust.errors import BoardError
from tinyrobust.image.ports import port_file

H743 = (resources.root() / "boards" / "nucleo-h743.yaml").read_text()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def line_of(text: str, needle: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if needle in line)


def test_the_four_boards_are_there() -> None:
    assert {"nucleo-h743", "mps2-an386", "mps2-an500", "host"} <= set(boards.names())


@pytest.mark.parametrize("name", boards.names())
def test_board_is_complete(name: str) -> None:
    board = boards.load(name)
    assert board.id == name
    assert board.sources and board.serial.device
    assert (resources.root() / "firmware" / "ports" / board.port).is_dir()
    ram = sum(m.length for m in board.memories if m.use and (board.is_host or m.kind != "flash"))
    assert board.budget.ram_bytes <= ram
    assert board.budget.stack_bytes < board.placed("stack")[0].length
    if not board.is_host:
        assert board.flash.kind == "flash" and board.flash.use
        assert board.flash.length % board.flash_word_bytes == 0


def test_h743_memories_are_those_of_the_reference_manual() -> None:
    board = boards.load("nucleo-h743")
    found = {m.name: (m.origin, m.length, m.ecc) for m in board.memories}
    assert found == {
        "FLASH": (0x08000000, 2 << 20, 256),
        "ITCM": (0x00000000, 64 << 10, 64),
        "DTCM": (0x20000000, 128 << 10, 32),
        "AXI_SRAM": (0x24000000, 512 << 10, 64),
        "SRAM123": (0x30000000, 288 << 10, 32),
        "SRAM4": (0x38000000, 64 << 10, 32),
    }
    assert board.flash_word_bytes == 32
    assert [f.id for f in board.flashers][:2] == ["pyocd", "openocd"]


@pytest.mark.parametrize("name", [n for n in boards.names() if boards.load(n).unicorn])
def test_every_register_that_the_port_names_is_served_by_the_virtual_board(name: str) -> None:
    """Addresses in the code of the port and of what it shares with others lie in peripherals of the
    board file's unicorn section; that of GPIOA is where the other ports are counted from."""
    board = boards.load(name)
    assert board.unicorn is not None
    spans = [(p.base, p.base + p.size) for p in board.unicorn.peripherals]
    spans += [(m.origin, m.end) for m in board.memories]
    folders = [
        resources.root() / "firmware" / "ports" / f
        for f in (board.port, *port_file(board.port).uses)
    ]
    files = [p for folder in folders for p in sorted(folder.glob("*.[chS]*"))]
    lines = [line for p in files for line in p.read_text().splitlines()]
    text = "\n".join(line for line in lines if "kGpio = " not in line)
    addresses = {int(a, 16) for a in re.findall(r"0x([0-9A-Fa-f]{8})u?\b", text)}
    peripheral = {
        a for a in addresses if 0x40000000 <= a < 0x60000000 or 0xE0000000 <= a < 0xE0100000
    }
    peripheral -= {0x54524956, 0x424C4155, 0x4452414F}  # "VIRTUALBOARD"
    assert len(peripheral) >= 2
    stray = [hex(a) for a in peripheral if not any(lo <= a < hi for lo, hi in spans)]
    assert not stray


def test_unknown_board_names_the_nearest() -> None:
    with pytest.raises(BoardError, match=r"'nucleo-h7443'.*did you mean 'nucleo-h743'"):
        boards.load("nucleo-h7443")


def test_a_file_is_a_board(tmp_path: Path) -> None:
    path = write(tmp_path, H743.replace("id: nucleo-h743", "id: mine"))
    assert boards.load(str(path)).id == "mine"
    assert boards.load(path) == boards.load(str(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="no such file"):
        boards.load(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "needle", "message"),
    [
        ("clock_hz: 480000000", "clock_herz: 480000000", "clock_herz", "unknown key 'clock_herz'"),
        ("core: cortex-m7", "core: cortex-m9", "core: cortex-m9", "cortex-m4"),
        ("flash_word_bytes: 32", "flash_word_bytes: three", "flash_word_bytes", "integer"),
        ("stack_bytes: 8192", "stack_bytes: 8190", "stack_bytes", "multiple of 32"),
        ("fpu: fpv5-d16", "fpu: vfp3", "fpu: vfp3", "fpv5-d16"),
        ("length: 0x20000,", "length: -1,", "length: -1", "greater than"),
        ("{name: ITCM", "{nam: ITCM", "{nam: ITCM", "missing|unknown key"),
    ],
)
def test_a_wrong_value_names_its_line(
    tmp_path: Path, old: str, new: str, needle: str, message: str
) -> None:
    text = H743.replace(old, new, 1)
    assert text != H743
    with pytest.raises(BoardError, match=message) as caught:
        boards.load(write(tmp_path, text))
    assert f"mine.yaml:{line_of(text, needle)}:" in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("origin: 0x24000000", "origin: 0x20000000", "overlap"),
        ("name: ITCM", "name: DTCM", "same name"),
        ("use: [code, weights, tables]", "use: [weights, tables]", "no memory has use 'code'"),
        ("flash_bytes: 0x200000", "flash_bytes: 0x200001", "more than FLASH has"),
        ("virtual: unicorn", "virtual: qemu", "qemu_machine"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = H743.replace(old, new, 1)
    assert text != H743
    with pytest.raises(BoardError, match=message):
        boards.load(write(tmp_path, text))


def test_every_truncation_of_a_board_file_is_a_board_error(tmp_path: Path) -> None:
    for cut in range(0, H743.index("\nsources:"), 331):
        with pytest.raises(BoardError):
            boards.load(write(tmp_path, H743[:cut]))


def test_board_survives_json() -> None:
    for name in boards.names():
        board = boards.load(name)
        assert Board.model_validate(board.as_dict(), strict=False) == board
