"""What a network can cost: the frontier of flash, RAM and time, and what each choice is worth.

In: a Graph, a Board, forced kernels, an aim. Out: Points, none of which another one beats in
flash, RAM and time at once; and for every layer of a plan the best plan without its choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tinyrobust.boards import Board
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.layouts import LayoutChange
from tinyrobust.memory import budget
from tinyrobust.memory.choose import Ceiling, Problem, Weights
from tinyrobust.memory.demand import demand
from tinyrobust.memory.planner import SPEED, Aim, Fit, fit, goals, prepare

FLASH_LEVELS = 10
RAM_LEVELS = 4


@dataclass(frozen=True)
class Point:
    """A way to run the network: bytes of flash and RAM (of kernels, weights, tables; of arena and
    executable memory), time per inference, and the choice for each layer."""

    flash_bytes: int
    ram_bytes: int
    instructions: int
    cycles: int | None
    choices: dict[str, str]

    def beats(self, other: Point) -> bool:
        """True when this is as good in everything and better in something."""
        mine, theirs = self._figures(), other._figures()
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))

    def _figures(self) -> tuple[int, int, int]:
        time = self.instructions if self.cycles is None else self.cycles
        return self.flash_bytes, self.ram_bytes, time


@dataclass(frozen=True)
class Alternative:
    """The best plan in which ``layer`` is computed in another way, against the plan: its choice,
    and how much more time, flash and RAM the whole network takes. None: nothing else fits."""

    layer: str
    choice: str | None
    time: int = 0
    flash_bytes: int = 0
    ram_bytes: int = 0


def frontier(
    graph: Graph,
    board: Board,
    *,
    force: Mapping[str, str] | None = None,
    aim: Aim = SPEED,
    flash_levels: int = FLASH_LEVELS,
    ram_levels: int = RAM_LEVELS,
) -> tuple[Point, ...]:
    """Points of the frontier within the limits, by flash: the fastest plans at ``flash_levels``
    limits of flash and ``ram_levels`` of RAM. Empty when nothing fits. Raises GraphError as
    ``plan`` does."""  # fmt: skip
    board = aim.limit(board)
    problem = prepare(graph, board, force or {})
    ceiling = budget.limits(board).ceiling
    found: dict[tuple[int, ...], Point] = {}
    for limit in _ceilings(problem, ceiling, flash_levels, ram_levels):
        best = fit(problem, limit, (Weights(time=1), Weights(flash=1), Weights(ram=1)))
        if best is not None:
            point = _point(problem, best)
            found[point._figures()] = point
    points = [p for p in found.values() if not any(q.beats(p) for q in found.values())]
    return tuple(sorted(points, key=lambda p: (p.flash_bytes, p.ram_bytes)))


def _ceilings(
    problem: Problem, ceiling: Ceiling, flash_levels: int, ram_levels: int
) -> Iterator[Ceiling]:
    """Limits between the least and what the fastest plan takes, evenly in their logarithm."""
    fastest = fit(problem, ceiling, (Weights(time=1), Weights(ram=1), Weights(flash=1)))
    leanest = fit(problem, ceiling, (Weights(ram=1), Weights(time=1)))
    if fastest is None or leanest is None:
        return
    for ram in _levels(leanest.ram, fastest.ram, ram_levels):
        within = dataclasses.replace(ceiling, ram=min(ram, ceiling.ram))
        fast = fit(problem, within, (Weights(time=1), Weights(flash=1)))
        small = fit(problem, within, (Weights(flash=1), Weights(time=1)))
        if fast is None or small is None:
            continue
        for flash in _levels(small.chosen.flash, fast.chosen.flash, flash_levels):
            yield dataclasses.replace(within, flash=flash)


def _levels(low: int, high: int, count: int) -> list[int]:
    if count < 2 or high <= low:
        return [max(low, high)]
    ratio = (high / low) ** (1 / (count - 1))
    return sorted({low, high, *(round(low * ratio**i) for i in range(count))})


def _point(problem: Problem, found: Fit) -> Point:
    options = [option for _, option in found.chain]
    cycles = [o.cost.cycles for o in options if o.cost.cycles is not None]
    return Point(
        flash_bytes=found.chosen.flash,
        ram_bytes=found.ram,
        instructions=sum(o.cost.instructions for o in options),
        cycles=sum(cycles) if len(cycles) == len(options) else None,
        choices={layer.name: option.label for layer, option in found.chain},
    )


def alternatives(
    graph: Graph, board: Board, *, force: Mapping[str, str] | None = None, aim: Aim = SPEED
) -> tuple[Alternative, ...]:
    """For every layer of the plan that there was a choice for: the next best plan.

    Of the choices that differ in their settings only, the kernel counts: the next best has
    another kernel or variant than the plan's. ``auto`` counts as ``speed``. Raises as ``plan``
    does.
    """
    board = aim.limit(board)
    problem = prepare(graph, board, force or {})
    ceiling = budget.limits(board).ceiling
    wanted = goals(problem, ceiling, "speed" if aim.optimize == "auto" else aim.optimize)
    best = fit(problem, ceiling, wanted)
    if best is None:
        return ()
    labels = {layer.name: option.label for layer, option in best.chain}
    found = []
    for i, layer in enumerate(problem.layers):
        if len(problem.options[i]) < 2 or layer.op == LayoutChange.op:
            continue
        without = _without(problem, i, labels[layer.name])
        other = fit(without, ceiling, wanted) if without is not None else None
        if other is None:
            found.append(Alternative(layer.name, None))
            continue
        taken = {la.name: o.label for la, o in other.chain}
        found.append(
            Alternative(
                layer.name, taken[layer.name], other.chosen.time - best.chosen.time,
                other.chosen.flash - best.chosen.flash, other.ram - best.ram,
            )
        )  # fmt: skip
    return tuple(found)


def _without(problem: Problem, step: int, label: str) -> Problem | None:
    """``problem`` without the choice ``label`` for one step; None when there is no other."""
    left = tuple(o for o in problem.options[step] if o.label != label)
    if not left:
        return None
    options = tuple(left if i == step else row for i, row in enumerate(problem.options))
    needs = demand(problem.graph, problem.layers, options)
    return dataclasses.replace(problem, options=options, demand=needs)
