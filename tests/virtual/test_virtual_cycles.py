"""The Cortex-M4 cycle model: its decoder in both languages, and its sums."""

from __future__ import annotations

import os
import random
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.patience import PATIENCE_S
from tests.virtual.sinner import Line, firmware
from tinyrobust import boards, device, image, virtual
from tinyrobust.graph.model import load_model
from tinyrobust.virtual import cycles, native, thumb
from tinyrobust.virtual.engine import unicorn
from tinyrobust.virtual.machine import Machine

H743 = boards.load("nucleo-h743")
REGISTERS = {**{f"r{i}": i for i in range(16)}, "sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14,
             "pc": 15}  # fmt: skip


def encodings() -> list[tuple[int, int]]:
    rng = random.Random(11)
    found = [(first, 0) for first in range(0x10000) if not thumb.is_wide(first)]
    for first in range(0xE800, 0x10000):
        seconds = {0x0A10, 0x1B04, 0xF0F3, 0xFBF2, 0x2003, 0xF003, rng.randrange(0x10000)}
        found += [(first, second) for second in sorted(seconds)]
    return found


def test_both_decoders_agree() -> None:
    for first, second in encodings():
        assert cycles.cost(first, second) == native.cost(first, second), f"{first:04x} {second:04x}"


def by_mnemonic(mnemonic: str, operands: str) -> tuple[int, bool]:
    """Cycles and whether it pipelines, from a disassembler's text."""
    name = mnemonic.split(".")[0]
    count = 0
    if "{" in operands:
        listed = operands[operands.index("{") + 1 : operands.index("}")]
        for part in filter(None, listed.split(",")):
            low, _, high = part.strip().partition("-")
            count += REGISTERS[high] - REGISTERS[low] + 1 if high else 1
    if re.match(r"(ldm|stm|push|pop|ldmdb|stmdb|ldmia|stmia)", name):
        return 1 + count, False
    if re.match(r"(ldrd|strd)", name):
        return 3, False
    if re.match(r"(ldrex|strex|tbb|tbh)", name):
        return 2, False
    if re.match(r"ldr(s?[bh])", name) and operands.startswith("pc"):
        return 1, False  # a hint, as PLD
    if name.startswith("ldr"):
        return 2, True
    if name in ("sdiv", "udiv"):
        return 12, False
    return 1, False


def test_the_decoder_against_a_disassembler(tmp_path: Path) -> None:
    rows = [e for e in encodings() if e[0] & 0xEC00 != 0xEC00]  # coprocessors: not integers
    rows = [e for e in rows if e[0] >> 8 != 0xBF]  # IT would change what follows
    data = b"".join(
        struct.pack("<HH", first, second) if thumb.is_wide(first) else struct.pack("<H", first)
        for first, second in rows
    )
    (tmp_path / "a.bin").write_bytes(data)
    text = subprocess.run(
        ["arm-none-eabi-objdump", "-D", "-z", "-b", "binary", "-marm",
         "-Mforce-thumb,reg-names-std", str(tmp_path / "a.bin")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = {}
    for line in text.splitlines():
        if match := re.match(r"\s+([0-9a-f]+):\t[0-9a-f ]+\t(\S+)\s*([^;@]*)", line):
            lines[int(match[1], 16)] = match[2], match[3].strip()
    offset = compared = 0
    for first, second in rows:
        mnemonic, operands = lines.get(offset, (".undefined", ""))
        offset += 4 if thumb.is_wide(first) else 2
        if mnemonic.startswith(".") or "?" in mnemonic or "undefined" in operands:
            continue
        if re.match(r"(ldc|stc|mcr|mrc|cdp|v|f|srs|rfe|pld|pli|blx|tt|lda|stl|clrm)", mnemonic):
            continue
        if first & 0xFE80 == 0xF800 and first & 15 != 15 and 0 < second & 0x0FC0 < 0x0800:
            continue  # undefined, though the disassembler is lenient
        want = by_mnemonic(mnemonic, operands)
        got = cycles.cost(first, second)
        assert (got & cycles.CYCLES, bool(got & cycles.LOAD)) == want, (
            f"{first:04x} {second:04x} {mnemonic} {operands}"
        )
        if got & cycles.LOAD:
            target, inside = operands.split(",")[0], operands.partition("[")[2].split("]")[0]
            used = {part.strip().split(" ")[0] for part in inside.split(",")} & set(REGISTERS)
            mask = sum(1 << REGISTERS[name] for name in used)
            assert got >> cycles.TARGET_SHIFT & 15 == REGISTERS[target]
            assert got >> cycles.ADDRESS_SHIFT == mask & 0x7FFF, (mnemonic, operands)
        compared += 1
    assert compared > 60_000


# A listing, the cycles of the straight run, and why.
RUNS = [
    ("ldr r0, [r1]\n ldr r2, [r3]\n ldr r4, [r3, #4]", 4, "loads pipeline"),
    ("ldr r1, [r1]\n ldr r2, [r1]", 4, "the address waits for the load"),
    ("ldr r1, [r0]\n ldrb.w r2, [r3, r1, lsl #2]", 4, "the index waits too"),
    ("ldr r0, [r1]\n add r2, r2, r3\n ldr r4, [r1]", 5, "an addition stands between"),
    ("ldr r0, [r1]\n ldrd r2, r3, [r4]\n ldr r5, [r4]", 7, "LDRD does not pipeline"),
    ("ldmia r0!, {r1-r8}\n stmia r9!, {r1-r4}", 14, "1 + N"),
    ("push {r4-r7, lr}\n pop {r4-r7, pc}", 12, "1 + N"),
    ("str r0, [r1]\n strh r0, [r1, #2]\n strd r0, r1, [r2]", 5, "stores"),
    ("smlad r0, r1, r2, r3\n umull r0, r1, r2, r3\n mla r0, r1, r2, r3", 3, "multiplications"),
    ("udiv r0, r1, r2\n sdiv r0, r1, r2", 24, "the longest division"),
    ("uadd8 r0, r1, r2\n uxtab16 r3, r3, r0, ror #8\n usat16 r0, #7, r1", 3, "SIMD"),
    ("vldr s0, [r1]\n vldr d0, [r1]\n vldmia r0!, {d0-d3}\n vmov r0, s0", 15, "floats"),
]


@pytest.mark.parametrize(("listing", "wanted", "why"), RUNS, ids=[why for *_, why in RUNS])
def test_straight_runs(listing: str, wanted: int, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.s").write_text(f".syntax unified\n.thumb\n {listing}\n")
    run = ["arm-none-eabi-as", "-mcpu=cortex-m7", "-mfpu=fpv5-d16", "a.s", "-o", "a.o"]
    subprocess.run(run, cwd=tmp_path, check=True)
    run = ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", "a.o", "a.bin"]
    subprocess.run(run, cwd=tmp_path, check=True)
    code = (tmp_path / "a.bin").read_bytes()
    found = cycles.straight(code)
    if found.instructions == listing.count("\n") + 2:  # the assembler pads to a word
        code = code[:-2]
        found = cycles.straight(code)
    assert (found.instructions, found.cycles) == (listing.count("\n") + 1, wanted)
    first = cycles.straight(code[:2] if not thumb.is_wide(code[0] | code[1] << 8) else code[:4])
    assert first.first_address == found.first_address


class Steps:
    """Counts by single instructions, as they run, with no idea of blocks.

    The engine does not report what an IT block skips; it is put in where the next one tells.
    """

    def __init__(self, machine: Machine) -> None:
        self.count = self.cycles = self.after = self.last = 0
        self.conditional: list[int] = []  # addresses under the last IT
        machine._uc.hook_add(unicorn.UC_HOOK_CODE, self._step)

    def _step(self, uc: Any, address: int, _size: int, _user: object) -> None:
        while self.after in self.conditional and self.after != address:
            self._one(uc, self.after)
        self._one(uc, address)

    def _one(self, uc: Any, address: int) -> None:
        first, second = struct.unpack("<HH", uc.mem_read(address, 4))
        cost = cycles.cost(first, second)
        self.count += 1
        self.cycles += cost & cycles.CYCLES
        if address != self.after:
            self.cycles += cycles.TAKEN
        elif self.last and cost & cycles.LOAD and not cost >> cycles.ADDRESS_SHIFT & self.last:
            self.cycles -= 1
        self.after = address + (4 if thumb.is_wide(first) else 2)
        self.last = 1 << (cost >> cycles.TARGET_SHIFT & 15) if cost & cycles.LOAD else 0
        if first >> 8 == 0xBF and first & 15:
            length = 4 - ((first & -first).bit_length() - 1)
            self.conditional, at = [], self.after
            for _ in range(length):
                self.conditional.append(at)
                at += 4 if thumb.is_wide(struct.unpack("<H", uc.mem_read(at, 2))[0]) else 2


PROGRAM = """
.syntax unified
.thumb
start:
    ldr r0, =0x24000000
    movs r1, #50
    movs r2, #0
    str r0, [r0, #4]
    str r0, [r0, #8]
outer:
    ldr r3, [r0]
    ldr r4, [r0, #4]
    ldr r5, [r0, r2]
    cbz r2, skip
    ldr r6, [r0, #8]
    ldr r7, [r6]
skip:
    movw r7, #0xffff
    and r3, r3, r7
    cmp r3, #100
    itt gt
    addgt r2, r2, #4
    strgt r2, [r0, #12]
    it ls
    addls r2, r2, #8
    and r2, r2, #0x1c
    str r1, [r0, r2]
    str r0, [r0, #8]
    push {r0-r5, lr}
    bl leaf
    pop {r0-r5, lr}
    movs r5, #0
    tbb [pc, r5]
table:
    .byte 1, 1
next:
    nop
    mov r9, r1
    udiv r9, r9, r0
    subs r1, #1
    bne outer
    ldr r0, =0x24000100
    ldr r1, =0x47702005
    str r1, [r0]
    dsb
    isb
    orr r0, r0, #1
    blx r0
    ldr r0, =0x24000100
    ldr r1, =0x47706810
    str r1, [r0]
    dsb
    isb
    orr r0, r0, #1
    ldr r2, =0x24000000
    blx r0
    ldr r0, =0xE000ED0C
    ldr r1, =0x05FA0004
    str r1, [r0]
end:
    b end
leaf:
    ldmia r0, {r1-r4}
    ldrd r1, r2, [r0]
    movs r5, #0
    bx lr
"""


def test_blocks_cost_what_single_steps_cost(tmp_path: Path) -> None:
    """Branches both ways, IT blocks, calls, a table, two pieces of code at one place in RAM."""
    (tmp_path / "a.s").write_text(PROGRAM)
    run = ["arm-none-eabi-as", "-mcpu=cortex-m7", "a.s", "-o", "a.o"]
    subprocess.run(run, cwd=tmp_path, check=True)
    run = ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", "a.o", "a.bin"]
    subprocess.run(run, cwd=tmp_path, check=True)
    code = (tmp_path / "a.bin").read_bytes()
    image = struct.pack("<II", 0x20001000, 0x08000009) + code
    reader, writer = os.pipe()
    try:
        plain = Machine(H743, image, writer)
        assert plain.run(max_resets=0) is None
        stepped = Machine(H743, image, writer)
        steps = Steps(stepped)
        assert stepped.run(max_resets=0) is None
        # the branch behind the store that resets is in its block, so it is counted
        steps._one(stepped._uc, steps.after)
    finally:
        os.close(reader)
        os.close(writer)
    assert plain.hooks.count == stepped.hooks.count > 50 * 25
    assert plain.hooks.cycles == stepped.hooks.cycles
    assert (stepped.hooks.count, stepped.hooks.cycles) == (steps.count, steps.cycles)


def test_the_counter_counts_what_it_was_asked_for() -> None:
    found = {}
    for clock in virtual.Clock:
        with virtual.start(H743, firmware(), clock=clock) as board:
            line = Line(board.port)
            one, _ = line.ask32(b"w\x01", 2)
            line.ask(b"v", 2)  # opens the stack guard's page, which must not count twice
            two, _ = line.ask32(b"w\x02", 2)
            found[clock] = two - one
    assert found[virtual.Clock.M4_MODEL] > found[virtual.Clock.INSTRUCTIONS] > 1000


@pytest.mark.slow
@pytest.mark.parametrize("board", ["nucleo-h743", "mps2-an386"])
def test_a_network_costs_the_same_with_strict_checks(board: str, tmp_path: Path) -> None:
    """With the kernels that the planner chooses, code generated into RAM among them."""
    model, on = load_model("shapes-small"), boards.load(board)
    built = image.build(model.graph, on, tmp_path / "build", model_name=model.name)
    sample = np.random.default_rng(0).integers(0, 256, model.graph.input.shape, np.uint8)
    for clock in virtual.Clock:
        found = set()
        for strict in (False, True):
            with (
                virtual.start(on, built, clock=clock, strict=strict) as running,
                device.Session.open(
                    running.port, timeout_s=PATIENCE_S, fault=running.fault
                ) as session,
            ):
                total = session.infer(sample).cycles
                found.add((total, tuple(session.layer_cycles())))
        assert len(found) == 1


def test_a_board_of_qemu_counts_on_unicorn() -> None:
    with virtual.start(boards.load("mps2-an386"), firmware("mps2"),
                       clock=virtual.Clock.INSTRUCTIONS) as board:  # fmt: skip
        assert board.helper == "native"
        assert Line(board.port).ask(b"e\x03abc", 3) == b"bcd"
