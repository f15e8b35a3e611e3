"""What a model takes: bytes of its weights, and flash, RAM and instructions on a board.

In: a Graph, a Board. Out: Costs, and how they came about: predicted by the planner, or measured of
a built image and counted on the virtual board.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyrobust import memory
from tinyrobust.bench.bench import bench
from tinyrobust.boards import Board
from tinyrobust.errors import BudgetError
from tinyrobust.graph.int8 import Weighted
from tinyrobust.graph.nodes import TERNARY, Graph
from tinyrobust.memory.budget import other_bytes

PREDICTED = "predicted by the planner"
COUNTED = "image measured, instructions counted on the virtual board"
TRIT_BITS = 2


@dataclass(frozen=True)
class Costs:
    """Of one inference and of the whole image; ``problem`` says why it does not fit, if so.

    ``how`` is PREDICTED or COUNTED; RAM holds the stack.
    """

    board: str
    how: str
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    instructions: int | None = None
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def weight_bytes(graph: Graph) -> int:
    """Bytes of the weights alone, packed: 2 bits a trit, int8 as they are; each layer by itself."""
    bits = [
        (int(n.weights.size), TRIT_BITS if isinstance(n, TERNARY) else n.weight_bits)
        for n in graph.nodes
        if isinstance(n, (*TERNARY, Weighted))
    ]
    return sum(-(-count * width // 8) for count, width in bits)


def predicted(graph: Graph, board: Board) -> Costs:
    """By the planner, within the board's budget; where it does not fit, ``problem`` says so."""
    try:
        plan = memory.plan(graph, board)
    except BudgetError as error:
        return Costs(board.id, PREDICTED, problem=error.message)
    flash, ram = other_bytes(board)
    return Costs(
        board.id, PREDICTED, plan.flash_bytes + flash, plan.ram_bytes + ram, plan.instructions
    )


def counted(graph: Graph, board: Board, folder: Path, model_name: str) -> Costs:
    """Built into ``folder`` and run on the virtual board; raises as ``bench`` does."""
    try:
        found = bench(graph, board, folder, model_name=model_name, force={})
    except BudgetError as error:
        return Costs(board.id, COUNTED, problem=error.message)
    return Costs(board.id, COUNTED, found.flash_bytes, found.ram_bytes, found.instructions)
