"""Flash memory's rules, the virtual flasher, and how a flasher is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import serial

from tests.virtual.sinner import Line, digest, firmware
from tinyrobust import boards, flash, virtual
from tinyrobust.boards.schema import Board
from tinyrobust.errors import DeviceFault, FlashError, LinkError
from tinyrobust.flash.flash import find_port
from tinyrobust.virtual.chips.stm32h7 import BER, LOCK, PG, SER, START, FlashController
from tinyrobust.virtual.flash_array import FlashArray

H743 = boards.load("nucleo-h743")


@dataclass
class Built:
    """A built image with the small firmware."""

    elf: Path
    bin: Path
    hex: Path
    meta: dict[str, object] = field(default_factory=dict)


@pytest.fixture
def image() -> Built:
    small = firmware()
    return Built(
        small.elf, small.bin, small.bin.with_suffix(".hex"),
        {"board": "nucleo-h743", "image_sha256": digest(small)},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_flash_array_rules() -> None:
    array = FlashArray(H743)
    word = bytes(range(32))
    array.program(0x08000020, word)
    assert array.data[32:64] == word
    with pytest.raises(FlashError, match="not erased"):
        array.program(0x08000020, word)
    with pytest.raises(FlashError, match="no flash word"):
        array.program(0x08000040, word[:16])
    with pytest.raises(FlashError, match="multiple of 32"):
        array.program(0x08000044, word)
    with pytest.raises(FlashError, match="outside"):
        array.program(0x08200000, word)
    with pytest.raises(FlashError, match="multiple of 131072"):
        array.erase(0x08000020)
    array.erase(0x08000000)
    array.program(0x08000020, word)
    with pytest.raises(FlashError, match="do not fit"):
        FlashArray(H743, bytes(0x200001))


def test_writing_an_image_keeps_other_sectors() -> None:
    array = FlashArray(H743, b"\x11" * 0x60000)
    array.write(0x08020000, b"\x22" * 64)
    assert array.data[0x1FFFF] == 0x11 and array.data[0x40000] == 0x11
    assert array.data[0x20000:0x20040] == b"\x22" * 64
    assert array.data[0x20040:0x40000] == b"\xff" * (0x20000 - 64)
    with pytest.raises(FlashError):
        array.write(0x08000000, bytes(33))  # not padded to whole words


def _unlocked() -> FlashController:
    controller = FlashController(FlashArray(H743))
    controller.write(0x04, 0x45670123)
    controller.write(0x04, 0xCDEF89AB)
    assert not controller.read(0x0C) & LOCK
    return controller


def test_controller_needs_keys_and_pg() -> None:
    controller = FlashController(FlashArray(H743))
    controller.write(0x0C, PG)
    assert controller.read(0x0C) & LOCK
    controller.store(0x08000000, bytes(4))
    assert controller.refused == 1 and controller.read(0x10) & 1 << 18
    controller.write(0x04, 0x1)  # a wrong key shuts it until reset
    controller.write(0x04, 0x45670123)
    controller.write(0x04, 0xCDEF89AB)
    assert controller.read(0x0C) & LOCK
    controller.reset()
    controller.write(0x04, 0x45670123)
    controller.write(0x04, 0xCDEF89AB)
    assert not controller.read(0x0C) & LOCK


def test_controller_programs_whole_erased_words_once() -> None:
    controller = _unlocked()
    controller.write(0x0C, PG)
    for i in range(0, 32, 4):
        assert controller.programmed_words == 0
        controller.store(0x08000000 + i, bytes([i] * 4))
    assert controller.programmed_words == 1
    assert controller.array.data[:32] == bytes(i & ~3 for i in range(32))
    for i in range(0, 32, 4):
        controller.store(0x08000000 + i, bytes(4))
    assert controller.programmed_words == 1 and controller.refused == 1
    controller.store(0x08000020, bytes(4))
    controller.store(0x08000060, bytes(4))  # left a word unfinished
    assert controller.read(0x10) & 1 << 21
    controller.write(0x14, 0xFFFFFFFF)
    assert controller.read(0x10) == 0


def test_controller_erases_sectors_and_banks() -> None:
    controller = _unlocked()
    controller.array.data[:] = bytes(len(controller.array.data))
    controller.write(0x0C, SER | 1 << 8 | START)
    data = controller.array.data
    assert data[0x1FFFF] == 0 and data[0x20000] == data[0x3FFFF] == 0xFF and data[0x40000] == 0
    controller.write(0x0C, BER | START)
    assert data[0] == data[0xFFFFF] == 0xFF and data[0x100000] == 0


def test_virtual_flash_is_booted_and_compared(image: Built, state: Path) -> None:
    asked: list[str] = []

    def read_hash(port: str, fault: Callable[[], object | None]) -> str:
        asked.append(port)
        assert Line(port).ask(b"v", 2)[1:] == b"k"
        assert fault() is None
        return digest(firmware())

    done = flash.flash(image, H743, virtual=True, read_hash=read_hash)
    assert asked and done.virtual and done.device_sha256 == done.image_sha256
    file = flash.flash_file(H743)
    assert file.is_relative_to(state) and file.stat().st_size == 0x200000
    assert file.read_bytes().startswith(image.bin.read_bytes())
    with virtual.start(H743, None, flash_file=file) as board:
        Line(board.port)

    with pytest.raises(FlashError, match="holds another image"):
        flash.flash(image, H743, virtual=True, read_hash=lambda port, fault: "0" * 64)


def test_a_fault_while_checking_is_told(image: Built) -> None:
    def read_hash(port: str, fault: Callable[[], object | None]) -> str:
        line = Line(port)
        line.serial.write(b"F")
        try:
            line.read(1)
        except serial.SerialException as error:
            raise LinkError("silent") from error
        return ""

    with pytest.raises(DeviceFault, match=r"undefined instruction.*in sin"):
        flash.flash(image, H743, virtual=True, read_hash=read_hash)


def test_dry_run_touches_nothing(image: Built, state: Path) -> None:
    done = flash.flash(image, H743, virtual=True, dry_run=True)
    assert done.dry_run and done.device_sha256 is None and not state.exists()
    assert "firmware" in " ".join(done.command) or "sinner" in " ".join(done.command)


def test_images_are_checked_first(image: Built, tmp_path: Path) -> None:
    image.meta["board"] = "mps2-an500"
    with pytest.raises(FlashError, match="image is for mps2-an500"):
        flash.flash(image, H743, virtual=True)
    image.meta["board"] = "nucleo-h743"
    image.bin = tmp_path / "other.bin"
    image.bin.write_bytes(b"x")
    with pytest.raises(FlashError, match=r"not the file that image\.json names"):
        flash.flash(image, H743, virtual=True)


def test_choosing_a_flasher(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = flash.flashers()
    for name in ("st-flash", "stm32cubeprogrammer"):
        monkeypatch.setattr(tools[name], "missing", lambda: "apt-get install it")
    assert set(tools) >= {"pyocd", "openocd", "virtual"}
    assert flash.find_flasher(H743, None, virtual=True)[1].id == "virtual"
    assert flash.find_flasher(boards.load("mps2-an500"), None, virtual=False)[1].id == "virtual"
    monkeypatch.setattr(tools["pyocd"], "missing", lambda: "", raising=True)
    assert flash.find_flasher(H743, None, virtual=False)[1].target == "stm32h743xx"
    monkeypatch.setattr(tools["pyocd"], "missing", lambda: "pip install it")
    monkeypatch.setattr(tools["openocd"], "missing", lambda: "")
    assert flash.find_flasher(H743, None, virtual=False)[1].id == "openocd"
    monkeypatch.setattr(tools["openocd"], "missing", lambda: "apt-get install it")
    with pytest.raises(FlashError, match=r"pyocd: pip install it or openocd: apt-get"):
        flash.find_flasher(H743, None, virtual=False)
    for name, message in (
        ("pyocd", "not installed"),
        ("pyocdd", "did you mean 'pyocd'"),
    ):
        with pytest.raises(FlashError, match=message):
            flash.find_flasher(H743, name, virtual=False)
    with pytest.raises(FlashError, match="does not program virtual"):
        flash.find_flasher(H743, "pyocd", virtual=True)
    with pytest.raises(FlashError, match="is not flashed with pyocd"):
        flash.find_flasher(boards.load("mps2-an500"), "pyocd", virtual=False)


def test_every_board_names_known_flashers() -> None:
    for name in boards.names():
        board: Board = boards.load(name)
        assert {row.id for row in board.flashers} <= set(flash.flashers())


@dataclass
class _Port:
    device: str
    vid: int | None
    pid: int | None


def test_finding_the_serial_port(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [_Port("/dev/ttyS0", None, None), _Port("/dev/ttyUSB3", 0x1234, 1)]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    with pytest.raises(LinkError, match="no serial port of a nucleo-h743"):
        find_port(H743)
    ports.append(_Port("/dev/ttyACM7", 0x0483, 0x374B))
    assert find_port(H743) == "/dev/ttyACM7"
    ports.append(_Port("/dev/ttyACM8", 0x0483, 0x374E))
    with pytest.raises(LinkError, match="/dev/ttyACM7, /dev/ttyACM8"):
        find_port(H743)
