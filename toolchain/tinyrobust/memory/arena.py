"""Offsets for buffers that live for some steps each: the arena, planned offline.

In: buffers with sizes and lifetimes, and which of them may overlap how. Out: an offset for each,
such that no two buffers alive at the same step overlap otherwise, and the bytes needed. Finding
the smallest arena is NP-hard: several orders and seeded shuffles of first fit are tried, then the
best order is changed so that what lies beyond the lower bound (the largest sum of bytes alive at
one step) comes earlier, then all orders of few buffers are searched, until the arena meets the
bound or the trials are used up.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALIGN = 8
_SHUFFLES = 60
_SQUEAKS = 400
_SEARCHED = 9  # buffers at most for the search of all orders
_NODES = 20_000

# (output, source) -> the output may lie over the source if it starts so many bytes before it
Overlaps = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Buffer:
    """``bytes`` alive from step ``first`` to step ``last``, both included."""

    name: str
    bytes: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """True when both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Arena:
    """Offset of every buffer, and the bytes from 0 to the end of the last one."""

    offsets: dict[str, int]
    bytes: int


def aligned(n_bytes: int) -> int:
    """``n_bytes`` rounded up to the alignment of the arena."""
    return -(-n_bytes // ALIGN) * ALIGN


def shared_bytes(output: int, source: int, ahead: int) -> int:
    """Bytes that two buffers of (unaligned) ``output`` and ``source`` bytes save by overlapping,
    the output starting ``ahead`` bytes before the source."""
    output, source, ahead = aligned(output), aligned(source), aligned(max(ahead, 0))
    return max(0, output + source - max(source + ahead, output))


def lower_bound(buffers: Sequence[Buffer], overlaps: Overlaps | None = None) -> int:
    """Largest sum of (aligned) bytes alive at one step; no arena can be smaller."""
    saved: dict[int, int] = {}
    by_name = {b.name: b for b in buffers}
    for (output, source), ahead in (overlaps or {}).items():
        if output in by_name and source in by_name:
            step = by_name[output].first
            saving = shared_bytes(by_name[output].bytes, by_name[source].bytes, ahead)
            saved[step] = saved.get(step, 0) + saving
    return max(
        (
            sum(aligned(b.bytes) for b in buffers if b.first <= step <= b.last) - saved.get(step, 0)
            for step in {b.first for b in buffers}
        ),
        default=0,
    )


def place(buffers: Sequence[Buffer], overlaps: Overlaps | None = None) -> Arena:
    """The best arena found; the same buffers give the same arena."""
    bound = lower_bound(buffers, overlaps)
    pairs = overlaps or {}
    best: Arena | None = None
    best_order: list[Buffer] = []
    for order in _orders(buffers, pairs):
        arena = _first_fit(order, pairs)
        if best is None or arena.bytes < best.bytes:
            best, best_order = arena, order
        if best.bytes == bound:
            return best
    assert best is not None
    best = _squeaking_wheel(best_order, pairs, best, bound)
    if best.bytes > bound and len(buffers) <= _SEARCHED:
        return _Search(buffers, pairs, best, bound).run()
    return best


def _squeaking_wheel(order: list[Buffer], overlaps: Overlaps, best: Arena, bound: int) -> Arena:
    """Improve ``best``, which ``order`` gave: a buffer that ends beyond the bound is placed
    earlier the next time (D. Joslin, D. Clements: "Squeaky Wheel" Optimization, JAIR 10, 1999)."""
    shuffle = random.Random(1)
    order, arena = list(order), best
    for _ in range(_SQUEAKS):
        late = [b for b in order if arena.offsets[b.name] + aligned(b.bytes) > bound]
        for buffer in late:
            position = order.index(buffer)
            order.insert(max(0, position - shuffle.randint(1, len(order))), order.pop(position))
        arena = _first_fit(order, overlaps)
        if arena.bytes < best.bytes:
            best = arena
        if best.bytes == bound:
            break
    return best


def _orders(buffers: Sequence[Buffer], overlaps: Overlaps) -> list[list[Buffer]]:
    by_size = sorted(buffers, key=lambda b: (-b.bytes, b.first, b.name))
    outputs = {output for output, _ in overlaps}
    orders = [
        by_size,
        sorted(by_size, key=lambda b: -(b.last - b.first)),
        sorted(by_size, key=lambda b: -(b.last - b.first + 1) * b.bytes),
        sorted(by_size, key=lambda b: b.first),
        sorted(by_size, key=lambda b: -b.last),
        sorted(by_size, key=lambda b: b.name not in outputs),
    ]
    shuffle = random.Random(0)
    for _ in range(_SHUFFLES):
        # large buffers still tend to come first
        keys = {b.name: b.bytes * shuffle.uniform(0.3, 1.0) for b in buffers}
        orders.append(sorted(by_size, key=lambda b, keys=keys: -keys[b.name]))  # type: ignore[misc]
    return orders


def _first_fit(order: Sequence[Buffer], overlaps: Overlaps) -> Arena:
    placed: list[tuple[int, Buffer]] = []
    for buffer in order:
        placed.append((_lowest(buffer, placed, overlaps), buffer))
    return Arena(
        {b.name: offset for offset, b in placed},
        max((offset + aligned(b.bytes) for offset, b in placed), default=0),
    )


def _lowest(buffer: Buffer, placed: Sequence[tuple[int, Buffer]], overlaps: Overlaps) -> int:
    """The lowest offset where ``buffer`` meets none of ``placed`` in a way that it must not."""
    blocked = sorted(
        _blocked(buffer, other, start, overlaps) for start, other in placed if buffer.meets(other)
    )
    offset = 0
    for low, high in blocked:
        if offset <= low:
            break
        offset = max(offset, high)
    return offset


def _blocked(buffer: Buffer, other: Buffer, start: int, overlaps: Overlaps) -> tuple[int, int]:
    """Offsets of ``buffer`` strictly between the two would touch ``other`` at ``start``."""
    low, high = start - aligned(buffer.bytes), start + aligned(other.bytes)
    ahead = overlaps.get((buffer.name, other.name))
    if ahead is not None:  # the buffer is the output: at most start - ahead
        low = max(low, start - aligned(ahead))
    ahead = overlaps.get((other.name, buffer.name))
    if ahead is not None:  # the buffer is the source: at least start + ahead
        high = min(high, start + aligned(ahead))
    return low, high


class _Search:
    """Depth-first search of the orders of first fit, with the best arena so far as the limit.

    Some order of first fit gives the smallest arena: that of the offsets of any smallest one.
    """

    def __init__(
        self, buffers: Sequence[Buffer], overlaps: Overlaps, best: Arena, bound: int
    ) -> None:
        self.overlaps, self.best, self.bound, self.nodes = overlaps, best, bound, 0
        self.buffers = sorted(buffers, key=lambda b: -b.bytes)

    def run(self) -> Arena:
        self._visit([], self.buffers, 0)
        return self.best

    def _visit(self, placed: list[tuple[int, Buffer]], left: Sequence[Buffer], used: int) -> None:
        self.nodes += 1
        if not left:
            self.best = Arena({b.name: offset for offset, b in placed}, used)
            return
        for i, buffer in enumerate(left):
            offset = _lowest(buffer, placed, self.overlaps)
            top = max(used, offset + aligned(buffer.bytes))
            if top < self.best.bytes:
                self._visit([*placed, (offset, buffer)], [*left[:i], *left[i + 1 :]], top)
            if self.best.bytes == self.bound or self.nodes > _NODES:
                return
