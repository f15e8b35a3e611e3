"""Stage ``virtual``: the Cortex-M4 cycle model. In: code. Out: estimated cycles, never measured.

The model is a stated one: zero wait states, no write buffer that fills, no bus contention. Source:
Cortex-M4 Processor Technical Reference Manual (Arm 100166), 3.3.1 "Table of processor instructions"
and 3.3.2 "Load/store timings". Where the manual gives a range, one figure is fixed here:

===========================  ======================================================================
instruction                  cycles
===========================  ======================================================================
LDR, LDRH, LDRB, LDRSx       2; 1 right after another such load whose result its address does not
                             use (the manual: neighbouring loads pipeline)
STR, STRH, STRB              1 (the write buffer takes it)
LDRD, STRD                   3
LDM, STM, PUSH, POP, VLDM    1 + number of words
TBB, TBH                     2, and the taken branch
LDREX, STREX                 2
MUL, MLA, SMLAD, UMULL, ...  1: every multiplication
SDIV, UDIV                   12, the longest of the manual's 2 to 12, which depend on the operands
B, BL, BX, CBZ, LDR pc, ...  as above; 2 more when taken (the manual's pipeline refill P is 1 to 3)
IT, NOP, DMB, MRS, ...       1; an instruction that an IT block skips costs as if it ran
everything else              1; floating point too, which the firmware does not use
===========================  ======================================================================

A branch counts as taken when the next code to run is not the next in memory. Code of another core
run through it (a Cortex-M7 build) gives the M4 model's cycles of that code: not an estimate of that
core. The same rules stand in ``cycles.h`` for the C hooks; a test compares the two over every
encoding, with a disassembler, and with stepping through single instructions.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyrobust.virtual.thumb import is_wide

NAME = "Cortex-M4 model, zero wait states"
TAKEN = 2  # cycles that a taken branch adds
LONGEST_DIVISION = 12

# What ``cost`` packs into one number.
CYCLES = 0x3F
LOAD = 0x40  # a single load, which pipelines with its neighbours
TARGET_SHIFT = 8  # of the register that a load writes
ADDRESS_SHIFT = 16  # of the mask of registers that a load's address uses


@dataclass(frozen=True)
class Straight:
    """A straight run of code by itself.

    ``first_address``: the mask of registers in the address of the first instruction, -1 unless
    that is a single load; ``last_target``: the mask with the register that the last instruction
    loads, 0 unless it is a single load. ``joined`` needs both.
    """

    instructions: int
    cycles: int
    first_address: int
    last_target: int


def _load(target: int, address: int) -> int:
    return 2 | LOAD | target << TARGET_SHIFT | (address & 0x7FFF) << ADDRESS_SHIFT


def cost(first: int, second: int) -> int:
    """Cycles of one instruction by itself, and what pipelining needs to know, in one number.

    ``second`` is the second half word of a wide instruction (encodings: DDI0403 A5.2, A5.3).
    """
    return _wide(first, second) if is_wide(first) else _narrow(first)


def _narrow(first: int) -> int:
    top = first >> 12
    if top == 5 and first >> 9 & 7 >= 3:  # LDRSB, LDR, LDRH, LDRB, LDRSH (register)
        return _load(first & 7, 1 << (first >> 3 & 7) | 1 << (first >> 6 & 7))
    if top in (6, 7, 8) and first & 0x0800:
        return _load(first & 7, 1 << (first >> 3 & 7))
    if top == 9 and first & 0x0800:
        return _load(first >> 8 & 7, 1 << 13)
    if first >> 11 == 9:  # LDR (literal)
        return _load(first >> 8 & 7, 0)
    if top == 12:
        return 1 + (first & 0xFF).bit_count()
    if first & 0xF600 == 0xB400:  # PUSH, POP
        return 1 + (first & 0x1FF).bit_count()
    return 1


def _wide(first: int, second: int) -> int:
    base = first & 15
    if first & 0xFE40 == 0xE800:  # LDM, STM, PUSH, POP
        return 1 + second.bit_count()
    if first & 0xFE40 == 0xE840:
        return 3 if first & 0x0120 else 2  # LDRD, STRD; else TBB, TBH, LDREX, STREX
    if first & 0xFE10 == 0xF810 and first & 0x0060 != 0x0060:
        target = second >> 12
        if target == 15 and first & 0x0060 != 0x0040:
            return 1  # PLD and other hints
        by_register = not first & 0x0080 and second & 0x0FC0 == 0 and base != 15
        return _load(target, 1 << base | (1 << (second & 15) if by_register else 0))
    if first & 0xFFD0 == 0xFB90 and second & 0x00F0 == 0x00F0:
        return LONGEST_DIVISION
    if first & 0xFE00 == 0xEC00 and second & 0x0E00 == 0x0A00 and first & 0xFFE0 != 0xEC40:
        if first & 0x0120 == 0x0100:  # VLDR, VSTR
            return 3 if second & 0x0100 else 2
        return 1 + (second & 0x3F)  # VLDM, VSTM
    return 1


def joined(last_target: int, first_address: int) -> bool:
    """True when a load with ``first_address`` right after one of ``last_target`` takes 1 cycle."""
    return bool(last_target) and first_address >= 0 and not first_address & last_target


def straight(code: bytes) -> Straight:
    """The run ``code``, none of whose branches but the last is taken."""
    offset = instructions = cycles = last = 0
    first_address = -1
    while offset < len(code):
        first = code[offset] | code[offset + 1] << 8
        wide = is_wide(first)
        second = code[offset + 2] | code[offset + 3] << 8 if wide else 0
        found = cost(first, second)
        address = found >> ADDRESS_SHIFT if found & LOAD else -1
        if not instructions:
            first_address = address
        cycles += (found & CYCLES) - joined(last, address)
        last = 1 << (found >> TARGET_SHIFT & 15) if found & LOAD else 0
        instructions += 1
        offset += 4 if wide else 2
    return Straight(instructions, cycles, first_address, last)
