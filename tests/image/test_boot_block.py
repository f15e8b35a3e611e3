"""The RP2040's boot block: its CRC, the boot ROM that checks it, UF2 beside the ELF, hot code."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import tiny_graph
from tests.patience import PATIENCE_S
from tinyrobust import boards, device, graph, image, memory, virtual
from tinyrobust.boards.boot_block import crc, is_sealed
from tinyrobust.errors import BuildError, DeviceFault
from tinyrobust.image import boot_block
from tinyrobust.image.elf import Elf

PICO = boards.load("raspberry-pi-pico")


def test_the_crc_is_the_one_of_the_datasheet() -> None:
    assert crc(b"123456789") == 0x0376E6E7  # CRC-32/MPEG-2's check value
    assert crc(b"") == 0xFFFFFFFF
    block = bytes(range(252))
    assert is_sealed(block + crc(block).to_bytes(4, "little"))
    assert not is_sealed(block + crc(block).to_bytes(4, "big"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> image.Image:
    folder = tmp_path_factory.mktemp("pico") / "build"
    return image.build(tiny_graph(), PICO, folder, model_name="tiny")


def test_the_image_starts_with_a_sealed_block(built: image.Image) -> None:
    base, content = Elf(built.elf).flash_image()
    assert base == 0x10000000 and content == built.bin.read_bytes()
    assert is_sealed(content[:256]) and len(content) % 256 == 0
    stack, reset = struct.unpack_from("<II", content, 256)  # the vector table: behind the block
    assert stack == 0x20042000 and 0x10000100 < reset < 0x10000000 + len(content)
    assert Elf(built.elf).symbol["tr_vectors"].address == PICO.vector_table == 0x10000100


def test_uf2_lies_beside_the_elf_and_holds_the_image(built: image.Image) -> None:
    blocks = built.uf2.read_bytes()
    content, found = built.bin.read_bytes(), bytearray()
    assert len(blocks) == 2 * len(content)
    for number in range(len(content) // 256):
        block = blocks[512 * number : 512 * number + 512]
        words = struct.unpack_from("<8I", block)
        assert words[:2] == (0x0A324655, 0x9E5D5157) and block[-4:] == b"\x30\x6f\xb1\x0a"
        assert words[2:] == (0x2000, 0x10000000 + 256 * number, 256, number, len(content) // 256,
                             0xE48BFF56)  # fmt: skip
        found += block[32:288]
    assert found == content


def test_a_board_without_a_drive_gets_no_uf2(tmp_path: Path) -> None:
    made = image.build(tiny_graph(), boards.load("nucleo-h743"), tmp_path / "b", model_name="tiny")
    assert not made.uf2.exists()


@pytest.mark.parametrize("at", [0, 100, 251, 252, 255])
def test_the_boot_rom_refuses_a_block_with_a_wrong_bit(
    built: image.Image, tmp_path: Path, at: int
) -> None:
    content = bytearray(built.bin.read_bytes())
    content[at] ^= 0x10
    (tmp_path / "flash").write_bytes(content)
    with (
        virtual.start(PICO, None, flash_file=tmp_path / "flash", elf=built.elf) as running,
        pytest.raises(DeviceFault, match="the CRC in its last word is wrong"),
    ):
        running.raise_if_faulted(PATIENCE_S)


def test_another_section_is_no_boot_block(built: image.Image, tmp_path: Path) -> None:
    other = tmp_path / "other.elf"
    other.write_bytes(built.elf.read_bytes())
    smaller = PICO.model_copy(update={"boot_block": PICO.boot_block.model_copy(  # type: ignore[union-attr]
        update={"bytes": 512})})  # fmt: skip
    with pytest.raises(BuildError, match=r"section \.tr_boot has 256 B.*has 512 B"):
        boot_block.seal(other, smaller)


def test_what_was_left_running_does_not_matter(built: image.Image) -> None:
    """A reset of the core alone, or a debugger, leaves clocks, PLL and UART as they were."""
    left = {
        0x40008030: 2, 0x4000803C: 1, 0x40008048: 0x800, 0x4000C000: 0x018EEDBF & ~0x600000,
        0x40024000: 0xFABAA0, 0x40028004: 0, 0x40028008: 125, 0x4002800C: 0x62000,
        0x4005802C: 0x20C, 0x40014004: 5, 0x40034030: 0x301, 0x40034024: 1,
    }  # fmt: skip
    with (
        virtual.start(PICO, built, strict=True, overrides=left) as run,
        device.Session.open(run.port, timeout_s=PATIENCE_S, fault=run.raise_if_faulted) as session,
    ):
        assert session.hello.clock_hz == 133_000_000 and session.hello.is_virtual


def test_hot_code_lies_in_ram_while_it_fits(tmp_path: Path) -> None:
    """All of it, or less (then of smaller kernels), or none: by the RAM that is allowed."""
    net = tiny_graph()

    def build(name: str, limit: int | None = None) -> image.Image:
        aim = memory.Aim("speed", max_ram_bytes=limit)
        return image.build(net, PICO, tmp_path / name, model_name="tiny", aim=aim)

    everything = build("everything")
    hot, used = everything.memory.ram.part("hot_code"), everything.memory.ram.used_bytes
    kernels = build("kernels", used - 1)
    nothing = build("nothing", used - hot)
    assert 0 < kernels.memory.ram.part("hot_code") < hot
    assert nothing.memory.ram.part("hot_code") == 0
    x = np.random.default_rng(5).integers(0, 256, (3, *net.input.shape), dtype=np.uint8)
    for made in (everything, kernels, nothing):
        with (
            virtual.start(PICO, made, strict=True) as run,
            device.Session.open(run.port, fault=run.raise_if_faulted) as session,
        ):
            assert session.image_hash() == made.meta["image_sha256"]
            assert np.array_equal(session.infer_many(x).scores, graph.run(net, x))
