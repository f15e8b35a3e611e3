"""Offsets for buffers that live for some steps each: the arena, planned offline.

In: buffers with sizes and lifetimes. Out: an offset for each, such that no two buffers alive at
the same step overlap, and the bytes needed. Finding the smallest arena is NP-hard; several
orders and seeded shuffles of first fit are tried and the best is kept, until one meets the
lower bound, the largest sum of bytes alive at one step.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

ALIGN = 8
_SHUFFLES = 200


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


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Largest sum of (aligned) bytes alive at one step; no arena can be smaller."""
    steps = {b.first for b in buffers}
    return max((sum(aligned(b.bytes) for b in buffers if b.first <= s <= b.last) for s in steps),
               default=0)  # fmt: skip


def place(buffers: Sequence[Buffer]) -> Arena:
    """The best arena found; the same buffers give the same arena."""
    bound = lower_bound(buffers)
    best: Arena | None = None
    for order in _orders(buffers):
        arena = _first_fit(order)
        if best is None or arena.bytes < best.bytes:
            best = arena
        if best.bytes == bound:
            break
    assert best is not None
    return best


def _orders(buffers: Sequence[Buffer]) -> list[list[Buffer]]:
    by_size = sorted(buffers, key=lambda b: (-b.bytes, b.first, b.name))
    orders = [
        by_size,
        sorted(by_size, key=lambda b: -(b.last - b.first)),
        sorted(by_size, key=lambda b: -(b.last - b.first + 1) * b.bytes),
        sorted(by_size, key=lambda b: b.first),
        sorted(by_size, key=lambda b: -b.last),
    ]
    shuffle = random.Random(0)
    for _ in range(_SHUFFLES):
        # large buffers still tend to come first
        keys = {b.name: b.bytes * shuffle.uniform(0.3, 1.0) for b in buffers}
        orders.append(sorted(by_size, key=lambda b, keys=keys: -keys[b.name]))  # type: ignore[misc]
    return orders


def _first_fit(order: Sequence[Buffer]) -> Arena:
    placed: list[tuple[int, Buffer]] = []
    for buffer in order:
        offset = 0
        for start, other in sorted(placed, key=lambda p: p[0]):
            if not buffer.meets(other):
                continue
            if start - offset >= aligned(buffer.bytes):
                break
            offset = max(offset, start + aligned(other.bytes))
        placed.append((offset, buffer))
    return Arena(
        {b.name: offset for offset, b in placed},
        max((offset + aligned(b.bytes) for offset, b in placed), default=0),
    )
