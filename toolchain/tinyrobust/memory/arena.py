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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

ALIGN = 8
_SHUFFLES = 60
_SQUEAKS = 400
_SEARCHED = 9  # buffers at most for the search of all orders
_NODES = 20_000

Touching = dict[str, dict[str, tuple[int, int]]]
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
    return _place(tuple(buffers), tuple(sorted((overlaps or {}).items())))


@lru_cache(maxsize=256)
def _place(buffers: tuple[Buffer, ...], pairs: tuple[tuple[tuple[str, str], int], ...]) -> Arena:
    overlaps = dict(pairs)
    bound = lower_bound(buffers, overlaps)
    touching = _touching(buffers, overlaps)
    best: Arena | None = None
    best_order: list[Buffer] = []
    for order in _orders(buffers, overlaps):
        arena = _first_fit(order, touching)
        if best is None or arena.bytes < best.bytes:
            best, best_order = arena, order
        if best.bytes == bound:
            return best
    assert best is not None
    best = _squeaking_wheel(best_order, touching, best, bound)
    if best.bytes > bound and len(buffers) <= _SEARCHED:
        return _Search(buffers, touching, best, bound).run()
    return best


def _touching(buffers: Sequence[Buffer], overlaps: Overlaps) -> Touching:
    """For every buffer those alive with it: between which offsets, counted from the other's, the
    two would touch in a way that they must not."""
    found: Touching = {b.name: {} for b in buffers}
    for buffer in buffers:
        for other in buffers:
            if buffer is other or not buffer.meets(other):
                continue
            low, high = -aligned(buffer.bytes), aligned(other.bytes)
            ahead = overlaps.get((buffer.name, other.name))
            if ahead is not None:  # the buffer is the output: at most so far
                low = max(low, -aligned(ahead))
            ahead = overlaps.get((other.name, buffer.name))
            if ahead is not None:  # the buffer is the source: at least so far
                high = min(high, aligned(ahead))
            found[buffer.name][other.name] = low, high
    return found


def _squeaking_wheel(order: list[Buffer], touching: Touching, best: Arena, bound: int) -> Arena:
    """Improve ``best``, which ``order`` gave: a buffer that ends beyond the bound is placed
    earlier the next time (D. Joslin, D. Clements: "Squeaky Wheel" Optimization, JAIR 10, 1999)."""
    shuffle = random.Random(1)
    order, arena = list(order), best
    for _ in range(_SQUEAKS):
        late = [b for b in order if arena.offsets[b.name] + aligned(b.bytes) > bound]
        for buffer in late:
            position = order.index(buffer)
            order.insert(max(0, position - shuffle.randint(1, len(order))), order.pop(position))
        arena = _first_fit(order, touching)
        if arena.bytes < best.bytes:
            best = arena
        if best.bytes == bound:
            break
    return best


def _orders(buffers: Sequence[Buffer], overlaps: Overlaps) -> Iterator[list[Buffer]]:
    by_size = sorted(buffers, key=lambda b: (-b.bytes, b.first, b.name))
    outputs = {output for output, _ in overlaps}
    yield by_size
    yield sorted(by_size, key=lambda b: -(b.last - b.first))
    yield sorted(by_size, key=lambda b: -(b.last - b.first + 1) * b.bytes)
    yield sorted(by_size, key=lambda b: b.first)
    yield sorted(by_size, key=lambda b: -b.last)
    yield sorted(by_size, key=lambda b: b.name not in outputs)
    shuffle = random.Random(0)
    for _ in range(_SHUFFLES):
        # large buffers still tend to come first
        keys = {b.name: b.bytes * shuffle.uniform(0.3, 1.0) for b in buffers}
        yield sorted(by_size, key=lambda b, keys=keys: -keys[b.name])  # type: ignore[misc]


def _first_fit(order: Sequence[Buffer], touching: Touching) -> Arena:
    offsets: dict[str, int] = {}
    for buffer in order:
        offsets[buffer.name] = _lowest(buffer, offsets, touching)
    return Arena(offsets, max((offsets[b.name] + aligned(b.bytes) for b in order), default=0))


def _lowest(buffer: Buffer, offsets: Mapping[str, int], touching: Touching) -> int:
    """The lowest offset of ``buffer`` at which it touches none of those that have offsets."""
    offset = 0
    for low, high in sorted(
        (offsets[name] + low, offsets[name] + high)
        for name, (low, high) in touching[buffer.name].items() if name in offsets
    ):  # fmt: skip
        if offset <= low:
            break
        offset = max(offset, high)
    return offset


class _Search:
    """Depth-first search of the orders of first fit, with the best arena so far as the limit.

    Some order of first fit gives the smallest arena: that of the offsets of any smallest one.
    """

    def __init__(
        self, buffers: Sequence[Buffer], touching: Touching, best: Arena, bound: int
    ) -> None:
        self.touching, self.best, self.bound, self.nodes = touching, best, bound, 0
        self.buffers = sorted(buffers, key=lambda b: -b.bytes)

    def run(self) -> Arena:
        self._visit({}, self.buffers, 0)
        return self.best

    def _visit(self, offsets: dict[str, int], left: Sequence[Buffer], used: int) -> None:
        self.nodes += 1
        if not left:
            self.best = Arena(offsets, used)
            return
        for i, buffer in enumerate(left):
            offset = _lowest(buffer, offsets, self.touching)
            top = max(used, offset + aligned(buffer.bytes))
            if top < self.best.bytes:
                more = {**offsets, buffer.name: offset}
                self._visit(more, [*left[:i], *left[i + 1 :]], top)
            if self.best.bytes == self.bound or self.nodes > _NODES:
                return
