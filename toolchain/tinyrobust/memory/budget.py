"""What a board leaves for the network, and the error when that is too little.

In: a Board; what the layers need. Out: Limits, or a BudgetError that names the layer, the
numbers, and the least that would do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tinyrobust.boards import Board
from tinyrobust.errors import BudgetError
from tinyrobust.memory.choose import Ceiling, Problem, Weights

# Set aside for what is not the network: start-up code, protocol, port; its buffers and data.
# `image` measures the real figures and holds the exact check.
FIRMWARE_FLASH_BYTES = 9728
FIRMWARE_RAM_BYTES = 3 << 10
_PLENTY = 1 << 30
# Of this the runtime, the generated steps and libgcc's functions, where code is copied into RAM.
_COPIED_BYTES = 6 << 10
# The uses of a memory in a board file: code that kernels write, code that is copied from flash.
CODE_RAM, HOT_CODE = "code_ram", "hot_code"


@dataclass(frozen=True)
class Limits:
    """Bytes the network may use, and the board's own figures for messages."""

    board: str
    ceiling: Ceiling
    budget_flash_bytes: int
    budget_ram_bytes: int


def limits(board: Board) -> Limits:
    """The budget less what the rest of the firmware takes; the arena lies in one memory, and so
    does the code that kernels write."""
    arenas = [m.length for m in board.memories if "arena" in m.use]
    ram = max(board.budget.ram_bytes - board.budget.stack_bytes - FIRMWARE_RAM_BYTES, 0)
    codes = [m.length for m in board.memories if _takes_code(m)]
    # In the one memory of the arena, code fills the last used eighth of its MPU region, which has
    # at most twice its size (image/link.py).
    one = [m for m in board.memories if _takes_code(m) or "arena" in m.use]
    return Limits(
        board=board.id,
        ceiling=Ceiling(
            flash=max(board.budget.flash_bytes - FIRMWARE_FLASH_BYTES, 0),
            arena=min([ram, max(arenas, default=ram)]),
            code=min([ram, max(codes, default=0)]),
            ram=ram,
            code_share=1.25 if codes and len(one) == 1 and not board.is_host else 1.0,
        ),
        budget_flash_bytes=board.budget.flash_bytes,
        budget_ram_bytes=board.budget.ram_bytes,
    )


def hot_bytes(board: Board) -> int | None:
    """Bytes for the arena and code copied beside it, on a board that runs code from RAM because its
    flash is slow; None on others."""
    homes = [m.length for m in board.memories if HOT_CODE in m.use]
    if not homes:
        return None
    ram = board.budget.ram_bytes - board.budget.stack_bytes
    return max(min(ram, homes[0]) - FIRMWARE_RAM_BYTES - _COPIED_BYTES, 0)


def other_bytes(board: Board) -> tuple[int, int]:
    """Flash and RAM of ``board`` set aside for what is not the network; RAM with the stack."""
    return FIRMWARE_FLASH_BYTES, board.budget.stack_bytes + FIRMWARE_RAM_BYTES


def executable(board: Board, n_bytes: int = 0) -> str:
    """The memory of ``board`` that takes ``n_bytes`` of code which kernels write; "": none."""
    found = [m.name for m in board.memories if _takes_code(m) and m.length >= n_bytes]
    return found[0] if found else ""


def _takes_code(memory: Any) -> bool:
    return CODE_RAM in memory.use


def explain(
    problem: Problem, limit: Limits, fit: Callable[[Problem, Ceiling, Iterable[Weights]], Any]
) -> BudgetError:
    """The BudgetError for a network that fits in no way; ``fit`` is ``planner.fit``."""
    own = limit.ceiling
    any_ram = dataclasses.replace(own, ram=_PLENTY, arena=_PLENTY, code=_PLENTY)
    any_flash = dataclasses.replace(own, flash=_PLENTY)
    smallest = fit(problem, dataclasses.replace(any_ram, flash=_PLENTY), [Weights(flash=1)])
    least = fit(problem, dataclasses.replace(any_ram, flash=_PLENTY), [Weights(ram=1)])
    if least is not None and (least.ram > own.ram or least.arena.bytes > own.arena):
        return _ram(problem, least, limit)
    if smallest.chosen.flash > own.flash:
        return _flash(problem, smallest, limit)
    flash = fit(problem, any_flash, [Weights(flash=1)])
    ram = fit(problem, any_ram, [Weights(ram=1)])
    other_flash = limit.budget_flash_bytes - own.flash
    other_ram = limit.budget_ram_bytes - own.ram
    return BudgetError(
        f"the kernels that fit the RAM of {limit.board} do not fit its "
        f"{limit.budget_flash_bytes:,} B of flash, and the other way round: within its "
        f"{limit.budget_ram_bytes:,} B of RAM the network needs at least "
        f"{flash.chosen.flash + other_flash:,} B of flash, within its flash at least "
        f"{ram.ram + other_ram:,} B of RAM; {_largest(problem, flash)}",
        "take fewer channels in this layer, or a larger board",
    )


def _ram(problem: Problem, least: Any, limit: Limits) -> BudgetError:
    buffers = least.alive.buffers
    sums = [sum(b.bytes for b in buffers if b.first <= i <= b.last)
            for i in range(len(least.chain))]  # fmt: skip
    peak = max(range(len(sums)), key=lambda i: sums[i])
    parts = [(b.bytes, b.name if " scratch" in b.name else f"tensor {b.name}")
             for b in buffers if b.first <= peak <= b.last]  # fmt: skip
    size, largest = max(parts)
    need, other = least.ram, limit.budget_ram_bytes - limit.ceiling.ram
    if need <= limit.ceiling.ram:  # it is the memory that is too small, not the budget
        return BudgetError(
            f"layer '{least.chain[peak][0].name}' needs an arena of {least.arena.bytes:,} B in "
            f"one memory, {limit.board} has {limit.ceiling.arena:,} B; largest: {largest}, "
            f"{size:,} B",
            "take a smaller input, fewer channels in this layer, or a board with more RAM",
        )
    return BudgetError(
        f"layer '{least.chain[peak][0].name}' needs {need + other:,} B of RAM ({need:,} B for the "
        f"network, {other:,} B for stack and firmware), {limit.board} has "
        f"{limit.budget_ram_bytes:,} B; largest: {largest}, {size:,} B",
        "take a smaller input, fewer channels in this layer, or a board with more RAM",
    )


def _flash(problem: Problem, smallest: Any, limit: Limits) -> BudgetError:
    need = smallest.chosen.flash
    weights = sum(option.cost.flash_bytes for _, option in smallest.chain)
    other = limit.budget_flash_bytes - limit.ceiling.flash
    return BudgetError(
        f"needs at least {need + other:,} B of flash ({weights:,} B weights and tables, "
        f"{need - weights:,} B kernels, {other:,} B other firmware), {limit.board} has "
        f"{limit.budget_flash_bytes:,} B; {_largest(problem, smallest)}",
        "take fewer channels in this layer, or a board with more flash",
    )


def _largest(problem: Problem, found: Any) -> str:
    layer, option = max(found.chain, key=lambda step: step[1].cost.flash_bytes)
    return f"largest: layer '{layer.name}', {option.cost.flash_bytes:,} B"
