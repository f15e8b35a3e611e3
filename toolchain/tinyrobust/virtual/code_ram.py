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

``hooks.c`` holds the same rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from tinyrobust.virtual.peripherals import CacheOperation

LINE_BYTES = 32  # of both caches of a Cortex-M7
DATA_CACHE, INSTRUCTION_CACHE = 1 << 16, 1 << 17  # CCR.DC, CCR.IC
EXECUTE_NEVER = 1 << 28  # MPU_RASR.XN
BARRIERS = bytes.fromhex("bff34f8fbff36f8f")  # DSB SY, ISB SY
_BY_LINE = {CacheOperation.DCCMVAU, CacheOperation.DCCMVAC, CacheOperation.DCCIMVAC}
_BY_SET = {CacheOperation.DCCSW, CacheOperation.DCCISW}


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


class CodeRam:
    """The three views. ``live`` reads the processor's own bytes, ``control`` CCR."""

    def __init__(
        self, where: CodeRange, live: Callable[[int, int], bytes], control: Callable[[], int]
    ) -> None:
        self.where = where
        self._live, self._control = live, control
        self.reset()

    def reset(self) -> None:
        """Caches that hold nothing."""
        self._stored = bytearray(self._live(self.where.low, self.where.high))
        self._fetched = bytearray(self._stored)
        self._stale: set[int] = set()

    def holds(self, address: int) -> bool:
        """True when ``address`` lies in it."""
        return self.where.low <= address < self.where.high

    def _on(self, cache: int) -> bool:
        return self.where.cached and bool(self._control() & cache)

    def _lines(self, operation: int, address: int) -> range:
        first = self.where.low & -LINE_BYTES
        if operation in _BY_SET or operation == CacheOperation.ICIALLU:
            return range(first, self.where.high, LINE_BYTES)
        line = address & -LINE_BYTES
        inside = first <= line < self.where.high
        return range(line, line + LINE_BYTES if inside else line, LINE_BYTES)

    def _part(self, line: int) -> slice:
        low, high = self.where.low, self.where.high
        return slice(max(line, low) - low, min(line + LINE_BYTES, high) - low)

    def cache_operation(self, operation: int, address: int) -> None:
        """A write to a maintenance register (its offset in the SCS)."""
        if operation in _BY_LINE or operation in _BY_SET:
            live = self._live(self.where.low, self.where.high)
            for line in self._lines(operation, address):
                self._stored[self._part(line)] = live[self._part(line)]
        elif operation in (CacheOperation.ICIMVAU, CacheOperation.ICIALLU):
            self._stale.update(self._lines(operation, address))

    def synchronise(self) -> None:
        """DSB, ISB."""
        if not self._on(DATA_CACHE):
            self._stored[:] = self._live(self.where.low, self.where.high)
        if not self._on(INSTRUCTION_CACHE):
            self._fetched[:] = self._stored
            return
        for line in self._stale:
            self._fetched[self._part(line)] = self._stored[self._part(line)]
        self._stale.clear()

    def stale(self, address: int, size: int) -> Stale | None:
        """Why the instructions at ``address`` may not be run; None when they may."""
        end = min(address + size, self.where.high)
        live = self._live(address, end)
        part = slice(address - self.where.low, end - self.where.low)
        if live == self._fetched[part]:
            return None
        if live != self._stored[part] and self._on(DATA_CACHE):
            return Stale.NOT_CLEANED
        return Stale.NOT_INVALIDATED if self._on(INSTRUCTION_CACHE) else Stale.NO_BARRIER
