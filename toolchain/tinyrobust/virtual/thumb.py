"""Stage ``virtual``: as much of Thumb-2 as counting instructions and the strict checks need.

In: half words of code. Out: instruction lengths, and which checks an instruction needs. The same
few lines stand in ``hooks.c``; a test compares the two over every encoding.
"""

from __future__ import annotations

from enum import IntEnum

# What to check before the instruction runs; the low four bits name the register to look at.
CHECK_ALIGNED = 0x10  # the register must be a multiple of four
CHECK_FPU = 0x20  # CPACR must allow the floating point unit
CHECK_DIVISOR = 0x40  # the register must not be zero
REGISTER = 0x0F


def is_wide(half: int) -> bool:
    """True when ``half`` is the first half word of a 32-bit instruction (DDI0403 A5.1)."""
    return half >> 11 >= 0x1D


def instructions(code: bytes | bytearray | memoryview) -> int:
    """How many instructions the straight run ``code`` holds."""
    offset = count = 0
    while offset < len(code):
        offset += 4 if code[offset + 1] >= 0xE8 else 2
        count += 1
    return count


def checks(first: int, second: int) -> int:
    """Checks for the instruction with these half words, 0 for none (DDI0403 A5.2, A5.3, A6).

    LDRD, STRD, LDM, STM, LDREX, STREX and floating-point loads and stores fault on an address
    that is not a multiple of four whatever CCR.UNALIGN_TRP says (A3.2.1). PUSH and POP are left
    out: the stack pointer is always a multiple of four.
    """
    if not is_wide(first):
        if first & 0xF000 == 0xC000:  # LDM, STM
            return CHECK_ALIGNED | (first >> 8 & 7)
        return 0
    base = first & 15
    if first & 0xFE40 == 0xE800:  # LDM.W, STM.W
        return CHECK_ALIGNED | base
    if first & 0xFE40 == 0xE840:  # LDRD, STRD, LDREX, STREX; TBB, TBH and byte forms are not
        if first & 0xFFE0 == 0xE8C0 or base == 15:
            return 0
        return CHECK_ALIGNED | base
    if first & 0xEC00 == 0xEC00 and second & 0x0E00 == 0x0A00:  # coprocessors 10 and 11
        # VLDR, VSTR, VLDM, VSTM; 0xEC4x and 0xEC5x move two registers instead
        loads = first & 0xFE00 == 0xEC00 and first & 0xFFE0 != 0xEC40
        if loads and base != 15:
            return CHECK_FPU | CHECK_ALIGNED | base
        return CHECK_FPU
    if first & 0xFFD0 == 0xFB90 and second & 0x00F0 == 0x00F0:  # SDIV, UDIV
        return CHECK_DIVISOR | (second & 15)
    return 0


class Level(IntEnum):
    """What a core leaves out of Armv7E-M. The numbers are shared with ``hooks.c``."""

    ALL = 0
    NO_DSP = 1  # Armv7-M
    ARMV6M = 2


def absent(first: int, second: int, level: Level) -> bool:
    """True when a core of ``level`` does not have the instruction with these half words.

    Armv6-M (DDI0419 A5.2, A5.3): of the wide ones only BL, MSR, MRS and barriers; no CBZ and no IT.
    The DSP extension: DDI0403 A5.3, the instructions marked so.
    """
    if level is Level.ALL:
        return False
    if not is_wide(first):
        if level is Level.NO_DSP:
            return False
        return first & 0xF500 == 0xB100 or (first & 0xFF00 == 0xBF00 and bool(first & 15))
    if level is Level.ARMV6M:
        if first >> 11 != 0x1E or not second & 0x8000:
            return True
        branch, system = second & 0xD000 == 0xD000, second & 0xD000 == 0x8000
        moves = first in (0xF3BF, 0xF3EF) or first & 0xFFF0 == 0xF380
        return not (branch or (system and moves))
    return _dsp(first, second)


def _dsp(first: int, second: int) -> bool:
    operation = second >> 4 & 15
    if first & 0xFFE0 == 0xEAC0:  # PKHBT, PKHTB
        return True
    if first & 0xFF70 == 0xF320:  # SSAT16, USAT16: SSAT and USAT with a shift by nothing
        return not second & 0x70C0
    if first & 0xFF00 == 0xFA00 and second & 0xF000 == 0xF000:
        if not first & 0x0080:  # SXTAB16 and its like; SXTH and its like have no register to add to
            return operation >= 8 and (first & 0x0060 == 0x0020 or first & 15 != 15)
        if operation < 8:  # SADD8, UQSUB16, ...
            return True
        return operation < 12 and not first & 0x0010  # QADD, SEL; not REV, CLZ
    if first & 0xFF80 == 0xFB00:  # MUL, MLA and MLS are not
        return bool(first & 0x0070)
    if first & 0xFF80 == 0xFB80:  # SMLALBB, SMLALD, SMLSLD, UMAAL
        kind = first >> 4 & 7
        return kind >= 4 and operation != 0
    return False


def block_checks(code: bytes) -> dict[int, int]:
    """Offset in ``code`` -> checks, for the instructions of a straight run that need some."""
    found = {}
    offset = 0
    while offset < len(code):
        first = int.from_bytes(code[offset : offset + 2], "little")
        wide = is_wide(first)
        second = int.from_bytes(code[offset + 2 : offset + 4], "little") if wide else 0
        if need := checks(first, second):
            found[offset] = need
        offset += 4 if wide else 2
    return found
