"""What one core has and another has not: instructions, misaligned access, MPU, SysTick."""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tinyrobust import boards
from tinyrobust.boards import Board
from tinyrobust.boards.cores import Core
from tinyrobust.virtual import mpu, native, thumb
from tinyrobust.virtual.faults import FaultReport
from tinyrobust.virtual.machine import Machine, level_of
from tinyrobust.virtual.thumb import Level

LISTING = """
nop; movs r0, #1; add r0, r8; ldmia r3!, {r0, r1}; push {r4, lr}; muls r0, r1, r0; rev r0, r1
uxtb r0, r1; bkpt #1; svc #0; cpsid i; blx r3; bl 1f; dsb; isb; dmb; mrs r0, primask
msr primask, r0; cbz r0, 1f @ nop; cbnz r3, 1f @ nop; it eq @ moveq r0, r1
ite ne @ movne r0, r1 @ moveq r1, r0; movw r0, #1; movt r0, #1; ldrd r0, r1, [r2]
ldr.w r8, [r9]; b.w 1f; beq.w 1f; udiv r0, r1, r2; sdiv r3, r4, r5; mla r0, r1, r2, r3
mls r0, r1, r2, r3; umull r0, r1, r2, r3; smull r4, r5, r6, r7; umlal r0, r1, r2, r3
smlal r0, r1, r2, r3; ubfx r0, r1, #3, #4; bfi r0, r1, #3, #4; clz r0, r1; rbit r0, r1
rev.w r8, r9; ssat r0, #8, r1; usat r0, #8, r1; ssat r0, #8, r1, asr #1; usat r0, #3, r1, lsl #2
sxth.w r8, r9; uxtb.w r8, r9, ror #8; tbb [r0, r1]; ldrex r0, [r1]; pkhbt r0, r1, r2
pkhtb r0, r1, r2, asr #16; orr.w r0, r1, r2; mov.w r8, r9, lsl #3; ssat16 r0, #4, r1
usat16 r0, #7, r1; sxtab r0, r1, r2; uxtah r0, r1, r2; sxtb16 r0, r1; uxtab16 r0, r1, r2, ror #8
sadd16 r0, r1, r2; ssub8 r0, r1, r2; uqsub8 r0, r1, r2; uhadd8 r0, r1, r2; qadd r0, r1, r2
qdsub r0, r1, r2; sel r0, r1, r2; smlabb r0, r1, r2, r3; smultb r0, r1, r2; smlad r0, r1, r2, r3
smuad r0, r1, r2; smlawb r0, r1, r2, r3; smlsd r0, r1, r2, r3; smmlar r0, r1, r2, r3
smmul r0, r1, r2; usad8 r0, r1, r2; usada8 r0, r1, r2, r3; smlald r0, r1, r2, r3
smlaltb r0, r1, r2, r3; smlsldx r0, r1, r2, r3; umaal r0, r1, r2, r3; lsl.w r0, r1, r2
"""
ROWS = [row.strip() for row in LISTING.replace("\n", ";").split(";") if row.strip()]
CORES: tuple[Core, ...] = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m33")


def assembled(folder: Path, core: str, text: str) -> bytes | None:
    """The bytes of ``text``; None when the assembler says that the core cannot."""
    (folder / "a.s").write_text(f".syntax unified\n.thumb\n{text}\n1:\n")
    run = ["arm-none-eabi-as", f"-mcpu={core}", "a.s", "-o", "a.o"]
    if subprocess.run(run, cwd=folder, capture_output=True).returncode:
        return None
    run = ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", "a.o", "a.bin"]
    subprocess.run(run, cwd=folder, check=True)
    return (folder / "a.bin").read_bytes()


def sections(folder: Path, core: str) -> tuple[dict[int, bytes], set[int]]:
    """The code of each of ROWS, and those that the assembler refuses."""
    text = ".syntax unified\n.thumb\n"
    for i, row in enumerate(ROWS):
        text += f'.section s{i},"ax"; {row.replace("@", ";")}; 1:\n'
    (folder / "a.s").write_text(text)
    run = ["arm-none-eabi-as", f"-mcpu={core}", "a.s", "-o", "a.o"]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True)
    lines = {int(n) for n in re.findall(r"^a\.s:(\d+): Error", done.stderr, re.M)}
    if lines:
        return {}, {n - 3 for n in lines}
    with (folder / "a.o").open("rb") as file:
        elf = ELFFile(file)
        return {i: elf.get_section_by_name(f"s{i}").data() for i in range(len(ROWS))}, set()


@pytest.mark.parametrize("core", CORES)
def test_an_instruction_is_absent_where_the_assembler_refuses_it(
    core: Core, tmp_path: Path
) -> None:
    codes, _ = sections(tmp_path, "cortex-m7")
    assert len(codes) == len(ROWS)
    _, refused = sections(tmp_path, core)
    for i, row in enumerate(ROWS):
        first, second = (int.from_bytes(codes[i][k : k + 2], "little") for k in (0, 2))
        assert thumb.absent(first, second, level_of(core)) == (i in refused), row


def test_both_hooks_know_the_same_instructions() -> None:
    rng = random.Random(9)
    for first in range(0x10000):
        seconds = {0x8F4F, 0xD000, 0xA000, 0xF080, 0xF000, 0xF0C0, rng.randrange(0x10000)}
        for second in seconds if thumb.is_wide(first) else {0}:
            for level in Level:
                here = thumb.absent(first, second, level)
                assert here == native.absent(first, second, level), (hex(first), hex(second))


def board_with(core: Core) -> Board:
    """The H743's memories around another core, without floating point."""
    return boards.load("nucleo-h743").model_copy(update={"core": core, "fpu": None})


@pytest.fixture
def sink() -> int:
    return os.open(os.devnull, os.O_RDWR)


def fault(core: Core, text: str, folder: Path, sink: int) -> FaultReport:
    """What stops ``text``, run strictly on a board with ``core``; a breakpoint ends it."""
    head = ".word 0x20001000, start + 1\n.balign 4\nstart:\n"
    # the engine runs everything: let the assembler accept everything, too
    code = assembled(folder, "cortex-m33", head + text + "\nbkpt #0\n.ltorg\n")
    assert code is not None
    origin = boards.load("nucleo-h743").flash.origin
    flash = bytearray(code)
    flash[4:8] = (origin + 8 + 1).to_bytes(4, "little")
    found = Machine(board_with(core), bytes(flash), sink, strict=True).run()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("core", "text", "kind"),
    [
        ("cortex-m0plus", "ldr r0, =0x20000101\nldrb r1, [r0]", "breakpoint"),
        ("cortex-m0plus", "ldr r0, =0x20000101\nldrh r1, [r0]", "misaligned"),
        ("cortex-m0plus", "ldr r0, =0x20000102\nstr r1, [r0]", "misaligned"),
        ("cortex-m3", "ldr r0, =0x20000102\nstr r1, [r0]", "breakpoint"),
        ("cortex-m0plus", "udiv r0, r0, r1", "undefined"),
        ("cortex-m0plus", "movs r0, #0\nit eq\nmoveq r0, r1", "undefined"),
        ("cortex-m3", "smlad r0, r1, r2, r3", "undefined"),
        ("cortex-m3", "mla r0, r1, r2, r3", "breakpoint"),
        ("cortex-m33", "smlad r0, r1, r2, r3", "breakpoint"),
        ("cortex-m33", "ldr r0, =0x20000F00\nmsr msplim, r0\nsub sp, #256", "breakpoint"),
        ("cortex-m33", "ldr r0, =0x20000F00\nmsr msplim, r0\nsub sp, #264", "stack_guard"),
        # no FPU: CPACR cannot allow it
        ("cortex-m3", "ldr r0, =0xE000ED88\nmvns r1, r1\nstr r1, [r0]\nldr r2, [r0]\n"
         "udiv r0, r0, r2", "division"),
    ],
)  # fmt: skip
def test_what_a_core_faults_on(core: Core, text: str, kind: str, tmp_path: Path, sink: int) -> None:
    assert fault(core, text, tmp_path, sink).kind == kind


MPU_V8 = """
ldr r0, =0xE000ED98
movs r1, #0
str r1, [r0]            @ MPU_RNR
ldr r1, =0x24000005     @ MPU_RBAR: read-only, execute-never
str r1, [r0, #4]
ldr r1, ={limit}
str r1, [r0, #8]        @ MPU_RLAR
{more}
movs r1, #5
str r1, [r0, #-4]       @ MPU_CTRL
dsb
isb
b 2f
2:
ldr r2, ={address}
ldr r3, [r2]
{store}
"""
SECOND = "movs r1, #1\nstr r1, [r0]\nldr r1, =0x24000041\nstr r1, [r0, #4]\nldr r1, =0x24000041\n"


@pytest.mark.parametrize(
    ("limit", "more", "address", "store", "kind"),
    [
        (0x24000061, "", 0x2400007C, "", "breakpoint"),
        (0x24000061, "", 0x2400007C, "str r3, [r2]", "protection"),
        (0x24000061, "", 0x24000080, "str r3, [r2]", "breakpoint"),  # beyond its limit
        (0x24000060, "", 0x2400007C, "str r3, [r2]", "breakpoint"),  # not enabled
        (0x24000061, SECOND + "str r1, [r0, #8]", 0x24000044, "", "protection"),  # two regions
    ],
)  # fmt: skip
def test_regions_of_armv8m(
    limit: int, more: str, address: int, store: str, kind: str, tmp_path: Path,
    sink: int,
) -> None:  # fmt: skip
    text = MPU_V8.format(limit=hex(limit), more=more, address=hex(address), store=store)
    assert fault("cortex-m33", text, tmp_path, sink).kind == kind


def test_pieces_of_armv8m_regions() -> None:
    unit = mpu.Mpu(5, (0x1000 | 4, 0x2001), (0x1FE1, 0x2FC1), v8=True)
    assert unit.pieces(0, 0x4000, mpu.ALL) == [
        (0, 0x1000, mpu.ALL), (0x1000, 0x2000, mpu.READ | mpu.EXECUTE),
        (0x2000, 0x2FE0, mpu.READ | mpu.WRITE), (0x2FE0, 0x4000, mpu.ALL),
    ]  # fmt: skip


SYSTICK = """
ldr r0, =0xE000E010
movs r1, #99
str r1, [r0, #4]        @ SYST_RVR
str r1, [r0, #8]        @ SYST_CVR
ldr r4, [r0, #8]        @ stands still at 0
movs r1, #{control}
str r1, [r0]            @ SYST_CSR
b 2f
2:
movs r3, #60
3:
subs r3, #1
bne 3b
ldr r5, [r0, #8]
b 4f
4:
movs r3, #10
5:
subs r3, #1
bne 5b
ldr r6, [r0, #8]
"""


@pytest.mark.parametrize("control", [5, 1])
def test_systick_counts_down_with_the_cores_clock(control: int, tmp_path: Path, sink: int) -> None:
    found = fault("cortex-m0plus", SYSTICK.format(control=control), tmp_path, sink)
    first, then = found.registers["r5"], found.registers["r6"]
    assert found.registers["r4"] == 0
    if control == 1:  # the external clock, which there is not
        assert first == then == 0
    else:
        assert 0 < first < 100 and (first - then) % 100 in range(20, 26)
