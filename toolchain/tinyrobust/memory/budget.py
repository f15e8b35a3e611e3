"""What a board leaves for the network, and the error when that is too little.

In: a Board; what the layers need. Out: Limits, or a BudgetError that names the layer, the
numbers, and what would fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyrobust.boards import Board
from tinyrobust.errors import BudgetError
from tinyrobust.kernels import Layer
from tinyrobust.memory.arena import Buffer, aligned
from tinyrobust.memory.choose import Option
from tinyrobust.memory.lifetimes import Lifetimes

# Set aside for what is not the network: start-up code, protocol, port; its buffers and data.
# `image` measures the real figures and holds the exact check.
FIRMWARE_FLASH_BYTES = 9 << 10
FIRMWARE_RAM_BYTES = 3 << 10


@dataclass(frozen=True)
class Limits:
    """Bytes the network may use, and the board's own figures for messages."""

    board: str
    flash_bytes: int
    arena_bytes: int
    budget_flash_bytes: int
    budget_ram_bytes: int


def limits(board: Board) -> Limits:
    """The budget less what the rest of the firmware takes; the arena lies in one memory."""
    arenas = [m.length for m in board.memories if "arena" in m.use]
    ram = board.budget.ram_bytes - board.budget.stack_bytes - FIRMWARE_RAM_BYTES
    return Limits(
        board=board.id,
        flash_bytes=max(board.budget.flash_bytes - FIRMWARE_FLASH_BYTES, 0),
        arena_bytes=max(min([ram, *([max(arenas)] if arenas else [])]), 0),
        budget_flash_bytes=board.budget.flash_bytes,
        budget_ram_bytes=board.budget.ram_bytes,
    )


def alive_bytes(buffers: Sequence[Buffer], step: int) -> int:
    """Bytes of the buffers alive at ``step``."""
    return sum(aligned(b.bytes) for b in buffers if b.first <= step <= b.last)


def explain(
    steps: Sequence[Layer],
    options: Sequence[Sequence[Option]],
    alive: Lifetimes,
    limit: Limits,
    smallest_arena: int | None,
) -> BudgetError:
    """The BudgetError for a network that fits in no way.

    ``smallest_arena``: bytes of the smallest arena that was placed, None when none was.
    """
    needs = [
        alive_bytes(alive.buffers, i) + min(o.cost.scratch_bytes for o in row)
        for i, row in enumerate(options)
    ]
    peak = max(range(len(steps)), key=lambda i: needs[i])
    if needs[peak] > limit.arena_bytes:
        return _ram(steps, options, alive, limit, peak, needs[peak])
    if smallest_arena is not None:
        return _ram(steps, options, alive, limit, peak, smallest_arena)
    return _flash(steps, options, limit)


def _ram(
    steps: Sequence[Layer], options: Sequence[Sequence[Option]], alive: Lifetimes, limit: Limits,
    peak: int, need: int,
) -> BudgetError:  # fmt: skip
    layer = steps[peak]
    scratch = min(o.cost.scratch_bytes for o in options[peak])
    parts = [(b.bytes, f"tensor {b.name}") for b in alive.buffers if b.first <= peak <= b.last]
    parts.append((scratch, f"{layer.name} scratch"))
    size, largest = max(parts)
    other = limit.budget_ram_bytes - limit.arena_bytes
    return BudgetError(
        f"layer '{layer.name}' needs {need + other:,} B of RAM ({need:,} B for the network, "
        f"{other:,} B for stack and firmware), {limit.board} has {limit.budget_ram_bytes:,} B; "
        f"largest: {largest}, {size:,} B",
        "take a smaller input, fewer channels in this layer, or a board with more RAM",
    )


def _flash(
    steps: Sequence[Layer], options: Sequence[Sequence[Option]], limit: Limits
) -> BudgetError:
    smallest = [
        min(row, key=lambda o: o.cost.flash_weights + o.cost.flash_tables) for row in options
    ]
    least = [o.cost.flash_weights + o.cost.flash_tables for o in smallest]
    code = sum({o.kernel.id: o.code_bytes for o in smallest}.values())
    other = limit.budget_flash_bytes - limit.flash_bytes
    worst = max(range(len(steps)), key=lambda i: least[i])
    if sum(least) + code <= limit.flash_bytes:
        return BudgetError(
            f"the kernels that fit the RAM of {limit.board} do not fit its "
            f"{limit.budget_flash_bytes:,} B of flash, and the other way round; largest weights: "
            f"layer '{steps[worst].name}', {least[worst]:,} B",
            "take fewer channels in this layer, or a larger board",
        )
    return BudgetError(
        f"needs at least {sum(least) + code + other:,} B of flash ({sum(least):,} B weights and "
        f"tables, {code:,} B kernels, {other:,} B other firmware), {limit.board} has "
        f"{limit.budget_flash_bytes:,} B; largest: layer '{steps[worst].name}', "
        f"{least[worst]:,} B",
        "take fewer channels in this layer, or a board with more flash",
    )
