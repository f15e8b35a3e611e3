"""Stage ``virtual``: RAM in which firmware writes code, and when it may run it.

In: where that RAM is, what the processor does there. Out: whether instructions fetched from it are
the ones that were written. Its bytes are seen in three ways: by the processor's loads and stores;
by main memory, which a data cache brings up to date only where it is cleaned; by instruction
fetch, which an instruction cache brings up to date only where it is invalidated, and which nothing
brings up to date before a DSB with an ISB right behind it (DDI0403 A3.7.3 and B2.2.6; PM0253,
"Cache maintenance operations"). Tightly coupled memory is never cached. A core may be luckier than
this on silicon; firmware must not count on it. What is not modelled: the DSB between cleaning and
invalidating.

MPU: the region that begins where this RAM begins makes it writable or executable. Execution is
refused in both modes while it is execute-never, writes to what is read-only in strict mode. The
engine's own page rights stay out of it, because changing them per piece of code is slow.

``hooks.c`` carries the rules out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

LINE_BYTES = 32  # of both caches of a Cortex-M7
DATA_CACHE, INSTRUCTION_CACHE = 1 << 16, 1 << 17  # CCR.DC, CCR.IC
EXECUTE_NEVER = 1 << 28  # MPU_RASR.XN


@dataclass(frozen=True)
class CodeRange:
    """Addresses ``low`` up to ``high``; ``cached``: behind the caches, when they are on."""

    low: int
    high: int
    cached: bool


class Stale(IntEnum):
    """Why fetched instructions are not the written ones. The numbers are shared with C."""

    NO_BARRIER = 1
    NOT_CLEANED = 2
    NOT_INVALIDATED = 3


STALE_TEXT = {
    Stale.NO_BARRIER: "no DSB and ISB since",
    Stale.NOT_CLEANED: "the data cache was not cleaned there since",
    Stale.NOT_INVALIDATED: "the instruction cache was not invalidated there since, or no DSB and "
    "ISB after that",
}
