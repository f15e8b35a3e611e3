"""Stage ``virtual``: as much of Thumb-2 as counting instructions and the strict checks need.

In: half words of code. Out: instruction lengths, and which checks an instruction needs. The same
few lines stand in ``hooks.c``; a test compares the two over every encoding.
"""

from __future__ import annotations

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
