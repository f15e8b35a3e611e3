"""Stage ``memory``: where everything lies and which kernel computes each layer.

In: a Graph and a Board. Out: a Plan (kernel per layer, arena offsets, predicted costs), or
BudgetError with the numbers when the board is too small.
"""

from tinyrobust.memory.arena import Arena, Buffer, lower_bound, place
from tinyrobust.memory.plan import Choice, Place, Plan, Step
from tinyrobust.memory.planner import Aim, plan

__all__ = [
    "Aim",
    "Arena",
    "Buffer",
    "Choice",
    "Place",
    "Plan",
    "Step",
    "lower_bound",
    "place",
    "plan",
]
