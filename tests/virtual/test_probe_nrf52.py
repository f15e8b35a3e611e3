"""The virtual probe's second chip, nRF52840: its flash's rules, its lock, the real pyOCD on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.graphs import tiny_graph
from tests.patience import PATIENCE_S
from tinyrobust import boards, device, image, virtual
from tinyrobust.errors import BoardError
from tinyrobust.virtual.chips import chip_of, has_probe
from tinyrobust.virtual.chips.nrf52 import (
    APPROTECT,
    CONFIG,
    ERASE,
    ERASEALL,
    ERASEPAGE,
    ERASEUICR,
    HW_DISABLED,
    NVMC,
    READ_ONLY,
    READY,
    UICR,
    WRITE,
    Nvmc,
)
from tinyrobust.virtual.debug_port import DebugPort
from tinyrobust.virtual.debug_target import DebugTarget, TransferFault
from tinyrobust.virtual.probe import ProbeServer

NANO = boards.load("arduino-nano-33-ble")


def test_which_boards_have_one() -> None:
    found = {name for name in boards.names() if has_probe(boards.load(name))}
    assert {"nucleo-h743", "arduino-nano-33-ble"} <= found
    assert not {"mps2-an386", "raspberry-pi-pico", "nucleo-h7a3", "host"} & found


@pytest.mark.parametrize("name", boards.names())
def test_boards_of_a_known_chip_have_a_probe(name: str) -> None:
    board = boards.load(name)
    if has_probe(board):
        target = DebugTarget(board, b"\x12\x34\x56\x78")
        assert target.flash[:4] == b"\x12\x34\x56\x78" and target.flash[4:] == b"\xff" * (
            board.flash.length - 4
        )
        assert target.read(board.flash.origin) == 0x78563412
    else:
        with pytest.raises(BoardError, match="no virtual probe"):
            chip_of(board)


def test_words_are_written_while_config_says_so_and_only_clear_bits() -> None:
    nvmc = Nvmc(NANO, b"")
    assert nvmc.read(READY) == 1
    nvmc.store(0x10000, b"\x00\x00\x00\x00")
    assert nvmc.refused == 1 and nvmc.flash[0x10000:0x10004] == b"\xff" * 4
    nvmc.write(CONFIG, WRITE)
    nvmc.store(0x10000, b"\xf0\x0f\xaa\x55")
    nvmc.store(0x10000, b"\x3c\xff\x0f\xff")
    assert nvmc.flash[0x10000:0x10004] == b"\x30\x0f\x0a\x55"
    assert (nvmc.programmed_words, nvmc.refused) == (2, 1)
    for address, data in ((0x10004, b"\x00"), (0x10006, b"\x00" * 4), (0x10005, b"\x00\x00")):
        nvmc.store(address, data)  # NVMC takes whole aligned words
    assert nvmc.refused == 4 and nvmc.flash[0x10004:0x1000C] == b"\xff" * 8


def test_pages_are_erased_while_config_says_so() -> None:
    nvmc = Nvmc(NANO, bytes(0x30000))
    nvmc.write(CONFIG, WRITE)
    nvmc.write(ERASEPAGE, 0x10000)
    assert nvmc.refused == 1
    nvmc.write(CONFIG, ERASE)
    nvmc.write(ERASEPAGE, 0x10004)
    nvmc.write(ERASEPAGE, 0x100000)
    assert nvmc.refused == 3 and nvmc.erased_pages == 0
    nvmc.write(ERASEPAGE, 0x10000)
    assert nvmc.flash[0xFFFC:0x10000] == bytes(4) and nvmc.flash[0x11000:0x11004] == bytes(4)
    assert nvmc.flash[0x10000:0x11000] == b"\xff" * 0x1000
    nvmc.write(ERASEUICR, 1)
    assert nvmc.others[UICR][APPROTECT] == 0xFF and nvmc.flash[0] == 0
    nvmc.write(ERASEALL, 1)
    assert nvmc.flash == b"\xff" * 0x100000
    nvmc.reset()
    assert nvmc.read(CONFIG) == READ_ONLY


def test_changes_are_told_once() -> None:
    nvmc = Nvmc(NANO, bytes(0x20000))
    nvmc.store(0x10000, b"\x01" * 4)  # refused: what the engine wrote must be put back
    assert nvmc.take_changes() == [(0x10000, bytes(4))]
    nvmc.write(CONFIG, ERASE)
    nvmc.write(ERASEPAGE, 0x10000)
    assert nvmc.take_changes() == [(0x10000, b"\xff" * 0x1000)]
    assert nvmc.take_changes() == []


def _port_one(dap: DebugPort, register: int) -> int:
    dap.write_dp(8, 1 << 24 | register & 0xF0)
    return dap.read_ap(register & 0xC)


def test_a_locked_chip_opens_when_all_is_erased() -> None:
    target = DebugTarget(NANO, bytes(0x20000))
    nvmc = target.controller
    assert isinstance(nvmc, Nvmc)
    nvmc.others[UICR][APPROTECT] = 0xFF
    target.reset()
    dap = DebugPort(target)
    assert _port_one(dap, 0xFC) & 0x0FFFFFFF == 0x02880000  # CTRL-AP, as pyOCD looks for it
    assert _port_one(dap, 0x0C) == 0  # locked
    for access in (lambda: target.read(0x10000), lambda: target.write(NVMC + CONFIG, 1)):
        with pytest.raises(TransferFault, match="protection"):
            access()
    dap.write_dp(8, 1 << 24)
    dap.write_ap(4, 1)
    assert dap.read_ap(8) == 0  # ready
    dap.write_ap(0, 1)
    dap.write_ap(0, 0)
    assert _port_one(dap, 0x0C) == 1 and target.read(0x10000) == 0xFFFFFFFF
    target.reset()  # UICR was erased too: locked again
    assert _port_one(dap, 0x0C) == 0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> image.Image:
    folder = tmp_path_factory.mktemp("nano") / "build"
    return image.build(tiny_graph(), NANO, folder, model_name="tiny")


def _load(probe: ProbeServer, *what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyocd", "load", "-W", "-u", probe.probe_id, "-t", "nrf52840",
         *what],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("locked", [False, True], ids=["open", "locked"])
def test_pyocd_load_is_byte_identical_and_boots(
    built: image.Image, tmp_path: Path, locked: bool
) -> None:
    events: list[str] = []
    loader = bytes(range(256)) * 256  # 64 KiB that stand for the bootloader
    target = DebugTarget(
        NANO, loader + bytes(0x40000),
        on_run=lambda _flash: events.append("run"), on_halt=lambda: events.append("halt"),
    )  # fmt: skip
    nvmc = target.controller
    assert isinstance(nvmc, Nvmc)
    if locked:
        nvmc.others[UICR][APPROTECT] = 0xFF
        target.reset()
    with ProbeServer(target, 0) as probe:
        _load(probe, str(built.elf))
    content = built.bin.read_bytes()
    start, pages = 0x10000, -(-len(content) // 0x1000) * 0x1000
    # Locked: everything was erased to get in. Else bootloader and what lies behind are untouched.
    wanted = bytearray(b"\xff" * 0x100000)
    if not locked:
        wanted[:0x50000] = loader + bytes(0x40000)
    wanted[start : start + pages] = content.ljust(pages, b"\xff")
    assert target.flash == wanted  # all of its 1,048,576 bytes
    flash = target.flash
    assert nvmc.others[UICR][APPROTECT] == HW_DISABLED
    assert nvmc.refused == 0 and events[-1] == "run"
    file = tmp_path / "flash"
    file.write_bytes(flash)
    with (
        virtual.start(NANO, None, flash_file=file, elf=built.elf, strict=True) as running,
        device.Session.open(running.port, fault=running.raise_if_faulted) as session,
    ):
        assert session.image_hash() == built.meta["image_sha256"]
