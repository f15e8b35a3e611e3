"""The budget of a search, and what a design is predicted to take of it.

In: a Recipe, a Board, a Budget. Out: a Prediction; ``problem`` says why a design is refused.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tinyrobust import memory
from tinyrobust.bench.random_recipe import random_recipe
from tinyrobust.boards import Board
from tinyrobust.errors import BudgetError, GraphError, TinyRobustError
from tinyrobust.memory.budget import other_bytes
from tinyrobust.recipes import Recipe
from tinyrobust.registry import nearest
from tinyrobust.units import count

_UNITS = {
    "flash": {"": 1, "k": 1 << 10, "m": 1 << 20},
    "ram": {"": 1, "k": 1 << 10, "m": 1 << 20},
    "instructions": {"": 1, "k": 10**3, "m": 10**6, "g": 10**9},
}


@dataclass(frozen=True)
class Budget:
    """Limits of the whole image and of one inference; None: the board's own, or no limit."""

    flash_bytes: int | None = None
    ram_bytes: int | None = None
    instructions: int | None = None


@dataclass(frozen=True)
class Prediction:
    """What the planner expects of a design, stack and firmware included."""

    family: str
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    instructions: int | None = None
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def parse(text: str) -> Budget:
    """``flash=64K,ram=96K,instructions=3M``: KiB and MiB of bytes, millions of instructions.

    Raises TinyRobustError for an unknown name or a number that is none.
    """
    found: dict[str, int] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = (p.strip().lower() for p in part.partition("="))
        if name not in _UNITS:
            raise TinyRobustError(f"--budget {part}: unknown '{name}'", nearest(name, _UNITS))
        if name in found:
            raise TinyRobustError(f"--budget: {name} is there twice", "give it once")
        found[name] = _number(name, value, part)
    return Budget(found.get("flash"), found.get("ram"), found.get("instructions"))


def _number(name: str, value: str, part: str) -> int:
    plain = value.removesuffix("ib").removesuffix("b") if name != "instructions" else value
    unit = plain[-1:] if plain[-1:].isalpha() else ""
    try:
        number = round(float(plain.removesuffix(unit)) * _UNITS[name][unit])
    except (ValueError, OverflowError, KeyError):
        number = 0
    if number <= 0:
        raise TinyRobustError(
            f"--budget {part}: '{value}' is no number such as 65536, 64K or 1M",
            "as --budget flash=64K,ram=96K,instructions=3M",
        )
    return number


def predict(recipe: Recipe, board: Board, budget: Budget) -> Prediction:
    """The planner's costs of the recipe with random weights, within ``budget``."""
    try:
        graph = random_recipe(recipe)
        plan = memory.plan(
            graph, board, aim=memory.Aim("speed", budget.flash_bytes, budget.ram_bytes)
        )
    except (BudgetError, GraphError) as error:
        return Prediction("", problem=error.message)
    flash, ram = other_bytes(board)
    made = Prediction(
        graph.family, plan.flash_bytes + flash, plan.ram_bytes + ram, plan.instructions
    )
    if budget.instructions is not None and plan.instructions > budget.instructions:
        problem = (
            f"takes {count(plan.instructions)} instructions within that flash and RAM, the budget "
            f"is {count(budget.instructions)}"
        )
        return Prediction(**{**made.as_json(), "problem": problem})
    return made
