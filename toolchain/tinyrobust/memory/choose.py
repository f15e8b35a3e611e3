"""Kernel choice: for every layer the kernel and the way to run it, for the whole network.

In: per layer its options with their predicted costs, the RAM that each step takes, the layout
changes there can be, and limits. Out: one option per layer and the changes of layout. An integer
linear program: one option per layer; the pieces of the kernels' code counted once each; a
layer reads a tensor in the layout in which it was written, or a change writes it once more; at
every step the tensors alive, scratch and executable memory within the limits. The objective is
one of several: least time, flash or RAM, or a weighted sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import highspy

from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import Layer, view_roots
from tinyrobust.memory.arena import aligned
from tinyrobust.memory.demand import Demand
from tinyrobust.memory.lifetimes import reads
from tinyrobust.memory.options import Option

ChangeKey = tuple[str, str]  # tensor, layout that is written


@dataclass(frozen=True)
class Ceiling:
    """Bytes at most: of flash, of the arena, of executable RAM, and of both RAMs together."""

    flash: int
    arena: int
    code: int
    ram: int


@dataclass(frozen=True)
class Weights:
    """What to minimise: the sum of time (cycles where every kernel states them, else
    instructions), bytes of flash and bytes of RAM, each with its weight."""

    time: float = 0.0
    flash: float = 0.0
    ram: float = 0.0


@dataclass(frozen=True, eq=False)
class Problem:
    """The network to choose for. ``changes``: the layout changes that a kernel can make."""

    graph: Graph
    layers: tuple[Layer, ...]
    options: tuple[tuple[Option, ...], ...]
    demands: tuple[Demand, ...]
    changes: Mapping[ChangeKey, Option]
    in_cycles: bool  # time is cycles

    def time(self, option: Option) -> int:
        """Predicted time of ``option``."""
        cycles = option.cost.cycles
        return cycles if self.in_cycles and cycles is not None else option.cost.instructions


@dataclass(frozen=True)
class Chosen:
    """Per layer the index of its option; the layout changes made; the sums."""

    taken: tuple[int, ...]
    changes: tuple[ChangeKey, ...]
    time: int
    flash: int
    arena: int  # a lower bound: the arena is placed afterwards
    code: int

    @property
    def ram(self) -> int:
        """Arena and executable memory."""
        return self.arena + self.code


def choose(
    problem: Problem, ceiling: Ceiling, *goals: Weights, without: Sequence[Chosen] = ()
) -> Chosen | None:
    """The best choice within ``ceiling``, or None when nothing fits.

    Of ``goals`` the first counts, then among the choices that are best by it the second, ...
    ``without``: choices to leave out, and all that have the same buffers.
    """
    model = _Model(problem, ceiling)
    for choice in without:
        model.leave_out(choice)
    found = None
    for goal in goals:
        value = model.minimise(goal)
        if value is None:
            return found
        found = model.chosen()
        model.hold(goal, found)
    return found


class _Model:
    """The integer linear program in HiGHS."""

    def __init__(self, problem: Problem, ceiling: Ceiling) -> None:
        self.problem = problem
        self.solver = highspy.Highs()
        self.solver.silent()
        self.solver.setOptionValue("mip_rel_gap", 0.0)
        self.taken = [[self.solver.addBinary() for _ in row] for row in problem.options]
        self.changes = {key: self.solver.addBinary() for key in problem.changes}
        self.linked = {piece: self.solver.addBinary() for piece in self._code()}
        self.arena = self.solver.addVariable(0, max(ceiling.arena, 0))
        self.code = self.solver.addVariable(0, max(ceiling.code, 0))
        self._choose_one()
        self._link()
        self._layouts()
        self._ram()
        self.flash = self._flash()
        self.time = self._time()
        self.solver.addConstr(self.flash <= ceiling.flash)
        self.solver.addConstr(self.arena + self.code <= ceiling.ram)

    def _everything(self) -> list[tuple[Option, Any]]:
        rows = zip(self.problem.options, self.taken, strict=True)
        found = [pair for row, mine in rows for pair in zip(row, mine, strict=True)]
        return found + [(self.problem.changes[key], v) for key, v in self.changes.items()]

    def _code(self) -> dict[str, int]:
        rows = (*self.problem.options, tuple(self.problem.changes.values()))
        return {piece: n for row in rows for o in row for piece, n in o.code.items()}

    def _choose_one(self) -> None:
        for mine in self.taken:
            self.solver.addConstr(self.solver.qsum(mine) == 1)

    def _link(self) -> None:
        rows = [*zip(self.problem.options, self.taken, strict=True)]
        for row, mine in rows:
            for piece in {piece for o in row for piece in o.code}:
                users = [v for o, v in zip(row, mine, strict=True) if piece in o.code]
                self.solver.addConstr(self.solver.qsum(users) <= self.linked[piece])
        for key, variable in self.changes.items():
            for piece in self.problem.changes[key].code:
                self.solver.addConstr(variable <= self.linked[piece])

    def _layouts(self) -> None:
        problem = self.problem
        roots = view_roots(problem.graph)
        made = {layer.output: i for i, layer in enumerate(problem.layers)}

        def written(tensor: str, layout: str) -> list[Any]:
            row, mine = problem.options[made[tensor]], self.taken[made[tensor]]
            return [v for o, v in zip(row, mine, strict=True) if o.way.ports.output == layout]

        for layer, row, mine in zip(problem.layers, problem.options, self.taken, strict=True):
            wanted: dict[tuple[str, str], list[Any]] = {}
            for option, variable in zip(row, mine, strict=True):
                for key in {(r.root, r.layout) for r in reads(layer, option.way.ports, roots)}:
                    wanted.setdefault(key, []).append(variable)
            for (tensor, layout), users in wanted.items():
                makers = written(tensor, layout)
                if len(makers) == len(self.taken[made[tensor]]):
                    continue  # every option writes it so
                if (tensor, layout) in self.changes:
                    makers.append(self.changes[tensor, layout])
                self.solver.addConstr(self.solver.qsum(users) <= self.solver.qsum(makers))

    def _ram(self) -> None:
        solver, problem = self.solver, self.problem
        for i, demand in enumerate(problem.demands):
            parts = [v * n for v, n in zip(self.taken[i], demand.own, strict=True)]
            for j, sizes in demand.others.items():
                parts += [v * n for v, n in zip(self.taken[j], sizes, strict=True)]
            solver.addConstr(solver.qsum(parts) + demand.fixed <= self.arena)
        kept = [v * aligned(o.cost.kept_code_bytes) for o, v in self._everything()
                if o.cost.kept_code_bytes]  # fmt: skip
        for row, mine in zip(problem.options, self.taken, strict=True):
            pairs = zip(row, mine, strict=True)
            running = [v * aligned(n) for o, v in pairs if (n := o.cost.code_ram_bytes)]
            if running or kept:
                solver.addConstr(solver.qsum(running + kept) <= self.code)

    def _flash(self) -> Any:
        parts = [self.linked[piece] * n for piece, n in self._code().items()]
        parts += [v * o.cost.flash_bytes for o, v in self._everything()]
        return self.solver.qsum(parts)

    def _time(self) -> Any:
        return self.solver.qsum([v * self.problem.time(o) for o, v in self._everything()])

    def _sum(self, goal: Weights) -> Any:
        parts = []
        if goal.time:
            parts.append(self.time * goal.time)
        if goal.flash:
            parts.append(self.flash * goal.flash)
        if goal.ram:
            parts.append((self.arena + self.code) * goal.ram)
        return self.solver.qsum(parts)

    def leave_out(self, choice: Chosen) -> None:
        """Allow no choice with the buffers of ``choice``."""
        same = []
        for row, mine, taken in zip(self.problem.options, self.taken, choice.taken, strict=True):
            buffers = _buffers(row[taken])
            same += [v for o, v in zip(row, mine, strict=True) if _buffers(o) == buffers]
        self.solver.addConstr(self.solver.qsum(same) <= len(self.taken) - 1)

    def minimise(self, goal: Weights) -> float | None:
        """Solve; None when nothing fits."""
        self.solver.minimize(self._sum(goal))
        if self.solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        return float(self.solver.getObjectiveValue())

    def hold(self, goal: Weights, best: Chosen) -> None:
        """Allow nothing worse than ``best`` by ``goal`` from now on."""
        value = goal.time * best.time + goal.flash * best.flash + goal.ram * best.ram
        self.solver.addConstr(self._sum(goal) <= value * (1 + 1e-9))

    def chosen(self) -> Chosen:
        """The solution with its sums in whole numbers."""
        problem = self.problem
        taken = tuple(
            max(range(len(row)), key=lambda j, row=row: self.solver.val(row[j]))  # type: ignore[misc]
            for row in self.taken
        )
        changes = tuple(k for k, v in self.changes.items() if self.solver.val(v) > 0.5)
        return summed(problem, taken, changes)


def _buffers(option: Option) -> tuple[object, ...]:
    """What of an option the arena depends on."""
    return option.cost.scratch_bytes, option.way.ports, option.overlap, option.kernel.file.in_place


def summed(problem: Problem, taken: Sequence[int], changes: Sequence[ChangeKey]) -> Chosen:
    """The sums of a choice."""
    options = [row[j] for row, j in zip(problem.options, taken, strict=True)]
    options += [problem.changes[key] for key in changes]
    code = {piece: n for o in options for piece, n in o.code.items()}
    shared = max(aligned(o.cost.code_ram_bytes) for o in options)
    return Chosen(
        taken=tuple(taken),
        changes=tuple(changes),
        time=sum(problem.time(o) for o in options),
        flash=sum(code.values()) + sum(o.cost.flash_bytes for o in options),
        arena=max(d.bytes(taken, i) for i, d in enumerate(problem.demands)),
        code=shared + sum(aligned(o.cost.kept_code_bytes) for o in options),
    )
