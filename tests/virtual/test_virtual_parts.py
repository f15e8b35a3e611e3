"""Parts of the virtual board by themselves: Thumb decoding, the MPU, the compile cache."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tinyrobust import boards
from tinyrobust.errors import BoardError, BuildError
from tinyrobust.virtual import mpu, native, thumb
from tinyrobust.virtual.machine import _partial_pages, _whole_pages
from tinyrobust.virtual.peripherals import register_map


def test_both_decoders_agree() -> None:
    rng = random.Random(7)
    for first in range(0x10000):
        seconds = {0x0A00, 0x0B00, 0xF0F3, 0xFBF2, rng.randrange(0x10000)}
        for second in seconds if thumb.is_wide(first) else {0}:
            assert thumb.checks(first, second) == native.checks(first, second), hex(first)


LISTING = """
    ldmia r3, {r0, r1}        @ aligned 3
    stmia r4!, {r0, r1}       @ aligned 4
    ldmdb r9, {r0, r1}        @ aligned 9
    stm.w r10, {r0, r8}       @ aligned 10
    ldrd r0, r1, [r5, #8]     @ aligned 5
    strd r0, r1, [r6], #8     @ aligned 6
    ldrex r0, [r7]            @ aligned 7
    ldrexb r0, [r7]           @
    tbb [r1, r2]              @
    ldr r0, [r1]              @
    ldrh.w r0, [r1, #2]       @
    push {r4, lr}             @
    vldr s0, [r2]             @ fpu aligned 2
    vstmia r3!, {d0-d3}       @ fpu aligned 3
    vadd.f32 s0, s1, s2       @ fpu
    vmov r0, r1, d0           @ fpu
    vmrs r0, fpscr            @ fpu
    vcvt.f64.f32 d0, s0       @ fpu
    udiv r0, r1, r2           @ divisor 2
    sdiv r0, r1, r12          @ divisor 12
    smlad r0, r1, r2, r3      @
    smull r0, r1, r2, r3      @
    mul.w r0, r1, r2          @
"""


def test_decoder_against_the_assembler(tmp_path: Path) -> None:
    rows = [row.split("@") for row in LISTING.strip().splitlines()]
    source = ".syntax unified\n.thumb\n" + "\n".join(row[0] for row in rows) + "\n"
    (tmp_path / "a.s").write_text(source)
    run = ["arm-none-eabi-as", "-mcpu=cortex-m7", "-mfpu=fpv5-d16", "a.s", "-o", "a.o"]
    subprocess.run(run, cwd=tmp_path, check=True)
    run = ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", "a.o", "a.bin"]
    subprocess.run(run, cwd=tmp_path, check=True)
    code = (tmp_path / "a.bin").read_bytes()
    found = thumb.block_checks(code)
    offset = 0
    for text, wanted in rows:
        check = 0
        for word in wanted.split():
            names = {"aligned": thumb.CHECK_ALIGNED, "fpu": thumb.CHECK_FPU,
                     "divisor": thumb.CHECK_DIVISOR}  # fmt: skip
            check |= names[word] if word in names else int(word)
        assert found.get(offset, 0) == check, text
        offset += 4 if thumb.is_wide(int.from_bytes(code[offset : offset + 2], "little")) else 2
    assert offset >= len(code) - 2
    assert thumb.instructions(code[:offset]) == len(rows)


def _mpu(control: int, *regions: tuple[int, int]) -> mpu.Mpu:
    bases = [base for base, _ in regions] + [0] * (16 - len(regions))
    attributes = [a for _, a in regions] + [0] * (16 - len(regions))
    return mpu.Mpu(control, tuple(bases), tuple(attributes))


NO_ACCESS, FULL, READ_ONLY, XN = 0 << 24, 3 << 24, 6 << 24, 1 << 28


def _attributes(log2: int, rights: int) -> int:
    return (log2 - 1) << 1 | rights | 1


def test_a_small_guard_splits_its_page() -> None:
    unit = _mpu(5, (0x20000000, _attributes(5, NO_ACCESS)))
    pieces = unit.pieces(0x20000000, 0x20002000, mpu.ALL)
    assert pieces == [(0x20000000, 0x20000020, 0), (0x20000020, 0x20002000, mpu.ALL)]
    closed = _whole_pages(pieces, False)
    assert closed == [(0x20000000, 0x20000400, 0), (0x20000400, 0x20002000, mpu.ALL)]
    assert _whole_pages(pieces, True) == [(0x20000000, 0x20002000, mpu.ALL)]
    assert _partial_pages(pieces) == [(0x20000000, 0x20000020, True, True)]


def test_higher_regions_win_and_subregions_are_left_out() -> None:
    unit = _mpu(
        5,
        (0x24000000, _attributes(12, READ_ONLY | XN)),
        (0x24000400, _attributes(10, FULL) | 0x80 << 8),
    )
    rights = dict.fromkeys(range(0x24000000, 0x24001000, 0x80))
    for low, high, value in unit.pieces(0x24000000, 0x24001000, mpu.ALL):
        for at in range(low, high, 0x80):
            rights[at] = value
    for at, value in rights.items():
        inside = 0x24000400 <= at < 0x24000400 + 7 * 128
        assert value == (mpu.ALL if inside else mpu.READ), hex(at)


def test_mpu_off_and_without_the_default_map() -> None:
    region = (0x24000000, _attributes(10, NO_ACCESS))
    assert _mpu(0, region).pieces(0x24000000, 0x24001000, 3) == [(0x24000000, 0x24001000, 3)]
    assert _mpu(1, region).pieces(0x24000000, 0x24001000, 3) == [(0x24000000, 0x24001000, 0)]


def test_hardware_limits_the_mpu() -> None:
    unit = _mpu(5, (0x08000000, _attributes(20, FULL)))
    assert unit.pieces(0x08000000, 0x08100000, mpu.READ) == [(0x08000000, 0x08100000, mpu.READ)]


def test_register_maps_are_checked() -> None:
    board = boards.load("nucleo-h743")
    assert board.unicorn is not None
    first = board.unicorn.peripherals[0]
    for change, message in (({"base": first.base + 2}, "boundaries"), ({"name": "X"}, "overlap")):
        more = [*board.unicorn.peripherals, first.model_copy(update=change)]
        bad = board.model_copy(update={"unicorn": board.unicorn.model_copy(
            update={"peripherals": more})})  # fmt: skip
        with pytest.raises(BoardError, match=message):
            register_map(bad)


def test_a_missing_or_failing_compiler_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(BuildError, match="no C compiler"):
        native.build()
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no space left >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(BuildError, match="no space left"):
        native.build()
    assert not list(tmp_path.rglob("*.so"))
