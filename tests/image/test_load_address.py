"""An image behind a bootloader: everything follows ``load_address``, and the bootloader stays."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from tests.graphs import tiny_graph
from tests.patience import PATIENCE_S
from tinyrobust import boards, device, flash, graph, image, resources, virtual
from tinyrobust.boards import Board
from tinyrobust.errors import BoardError, BuildError, DeviceFault, FlashError
from tinyrobust.flash import flash_file
from tinyrobust.image.elf import Elf
from tinyrobust.virtual.flash_array import FlashArray

H743 = (resources.root() / "boards" / "nucleo-h743.yaml").read_text()
START = 0x08040000  # two sectors of 128 KiB for a bootloader


def behind(folder: Path, address: int = START, **changes: str) -> Path:
    """nucleo-h743 with a bootloader, as a user's own board file."""
    text = H743.replace("id: nucleo-h743", "id: mine")
    text = text.replace("clock_hz:", f"load_address: {address:#010x}\nclock_hz:", 1)
    text = text.replace("flash_bytes: 0x200000", f"flash_bytes: {0x08200000 - START:#x}", 1)
    for old, new in changes.items():
        text = re.sub(rf"{old}: \S+", f"{old}: {new}", text, count=1)
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return boards.load(behind(tmp_path_factory.mktemp("board")))


@pytest.fixture(scope="module")
def built(board: Board, tmp_path_factory: pytest.TempPathFactory) -> image.Image:
    out = tmp_path_factory.mktemp("build") / "mine"
    return image.build(tiny_graph(), board, out, model_name="tiny")


def test_without_it_the_image_starts_where_the_flash_does() -> None:
    board = boards.load("nucleo-h743")
    assert board.image_origin == board.flash.origin and board.image_room == board.flash.length


def test_vector_table_and_linked_addresses_follow(built: image.Image, board: Board) -> None:
    elf = Elf(built.elf)
    base, data = elf.flash_image()
    assert base == board.image_origin == START
    assert elf.symbol["tr_vectors"].address == elf.symbol["tr_image_start"].address == START
    entry = int.from_bytes(data[4:8], "little")
    assert entry & ~1 == elf.symbol["Reset_Handler"].address & ~1
    assert START < entry < board.flash.end


def test_hex_and_bin_follow(built: image.Image, tmp_path: Path) -> None:
    data = built.bin.read_bytes()
    assert hashlib.sha256(data).hexdigest() == built.meta["image_sha256"]
    assert built.hex.read_text().startswith(":020000040804EE")  # upper half 0x0804
    flat = tmp_path / "x.bin"
    subprocess.run(
        ["arm-none-eabi-objcopy", "-I", "ihex", "-O", "binary", str(built.hex), str(flat)],
        check=True,
    )
    assert flat.read_bytes() == data


def test_memory_report_counts_what_is_left(built: image.Image, board: Board) -> None:
    region = next(r for r in built.memory.regions if r.name == "FLASH")
    assert region.size_bytes == board.image_room == 0x1C0000
    assert region.used_bytes == len(built.bin.read_bytes())
    assert image.remeasure(built, board).flash == built.memory.flash


def test_an_image_for_the_start_of_flash_is_not_the_same(
    built: image.Image, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match="does not run on nucleo-h743"):
        image.remeasure(built, boards.load("nucleo-h743"))


def test_the_virtual_board_runs_it_and_hashes_its_own_bytes(
    built: image.Image, board: Board
) -> None:
    net = tiny_graph()
    x = _inputs(net)
    with (
        virtual.start(board, built, strict=True) as running,
        device.Session.open(running.port, fault=running.raise_if_faulted) as session,
    ):
        assert session.image_hash() == built.meta["image_sha256"]
        assert (session.infer_many(x).scores == graph.run(net, x)).all()


def _inputs(net: graph.Graph):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.random.default_rng(1).integers(0, 256, (2, *net.input.shape), dtype=np.uint8)


def test_flashing_keeps_the_bootloader(
    built: image.Image, board: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    bootloader = bytes(range(256)) * (0x40000 // 256)
    file = flash_file(board)
    file.parent.mkdir(parents=True)
    file.write_bytes(bootloader + bytes([0xFF]) * board.image_room)

    def read_hash(port: str, fault: object) -> str:
        with device.Session.open(port, fault=fault) as session:  # type: ignore[arg-type]
            return session.image_hash()

    done = flash.flash(built, board, virtual=True, read_hash=read_hash)
    assert done.device_sha256 == built.meta["image_sha256"]
    content = file.read_bytes()
    assert content[:0x40000] == bootloader
    data = built.bin.read_bytes()
    assert content[0x40000 : 0x40000 + len(data)] == data


def test_an_image_linked_for_another_address_does_not_start(
    built: image.Image, tmp_path: Path
) -> None:
    """The vector table of an image for START, flashed to the start of the flash."""
    other = boards.load(behind(tmp_path, 0x08100000, flash_bytes="0x100000"))
    with (
        virtual.start(other, built, strict=True) as running,
        pytest.raises(DeviceFault, match="reset vector is not in it"),
    ):
        running.raise_if_faulted(PATIENCE_S)


@pytest.mark.parametrize(
    ("address", "changes", "message"),
    [
        (0x07000000, {}, r"load_address 0x07000000 is not in FLASH \(0x08000000 to 0x08200000\)"),
        (0x08200000, {}, "is not in FLASH"),
        (0x08040080, {}, "multiple of 131,072 bytes"),
        (0x08010000, {}, "multiple of 131,072 bytes"),  # would erase the bootloader's sector
        (0x08060000, {}, r"more than FLASH has behind load_address: 1,703,936 bytes"),
        (START, {"virtual": "qemu\nqemu_machine: mps2-an500"}, "QEMU starts"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(
    tmp_path: Path, address: int, changes: dict[str, str], message: str
) -> None:
    path = behind(tmp_path, address, **changes)
    with pytest.raises(BoardError, match=message) as caught:
        boards.load(path)
    said = re.search(r"mine.yaml:(\d+): ", caught.value.message)
    assert said
    line = path.read_text().splitlines()[int(said.group(1)) - 1]
    assert line.strip().startswith("flash_bytes" if "more than" in message else "load_address")


def test_flash_array_refuses_what_lies_beyond_its_end(built: image.Image, board: Board) -> None:
    with pytest.raises(FlashError, match="outside"):
        FlashArray(board).write(board.flash.end - 32, built.bin.read_bytes())
