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
from tinyrobust.kernels import Layer
from tinyrobust.kernels.predict import COMPILED
from tinyrobust.memory.arena import aligned
from tinyrobust.memory.demand import Change, Demand, Held, bound
from tinyrobust.memory.options import Option


@dataclass(frozen=True)
class Ceiling:
    """Bytes at most: of flash, of the arena, of executable RAM, and of both RAMs together; ``hot``:
    of the arena and the code that is copied into RAM beside it (None: code need not be).
    ``code_share``: what a byte of executable RAM takes of the sum."""

    flash: int
    arena: int
    code: int
    ram: int
    hot: int | None = None
    code_share: float = 1.0

    def holds(self, arena: int, code: int) -> bool:
        """True when so many bytes fit."""
        return arena <= self.arena and arena + code * self.code_share <= self.ram


@dataclass(frozen=True)
class Weights:
    """What to minimise: the sum of time (cycles where every kernel states them, else
    instructions), bytes of flash and bytes of RAM, each with its weight."""

    time: float = 0.0
    flash: float = 0.0
    ram: float = 0.0


@dataclass(frozen=True, eq=False)
class Problem:
    """The network to choose for. ``changes``: by tensor and layout the layout changes that a
    kernel can make."""

    graph: Graph
    layers: tuple[Layer, ...]
    options: tuple[tuple[Option, ...], ...]
    demand: Demand
    changes: Mapping[tuple[str, str], Option]
    in_cycles: bool  # time is cycles

    def time(self, option: Option) -> int:
        """Predicted time of ``option``."""
        cycles = option.cost.cycles
        return cycles if self.in_cycles and cycles is not None else option.cost.instructions


@dataclass(frozen=True)
class Chosen:
    """Per layer the index of its option; the layout changes made; the sums."""

    taken: tuple[int, ...]
    changes: tuple[Change, ...]
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
        self.changes = {
            Change(i, held.tensor, layout): self.solver.addBinary()
            for held in problem.demand.tensors for layout in held.sizes
            if (held.tensor, layout) in problem.changes for i in held.wanted
        }  # fmt: skip
        self.linked = {piece: self.solver.addBinary() for piece in self._code()}
        self.arena = self.solver.addVariable(0, max(ceiling.arena, 0))
        self.code = self.solver.addVariable(0, max(ceiling.code, 0))
        self._choose_one()
        self._link()
        self._arena()
        self._executable()
        self.flash = self._flash()
        self.time = self._time()
        self.solver.addConstr(self.flash <= ceiling.flash)
        self.solver.addConstr(self.arena + self.code * ceiling.code_share <= ceiling.ram)
        if ceiling.hot is not None:
            self.solver.addConstr(self.arena + self._copied() <= ceiling.hot)

    def _everything(self) -> list[tuple[Option, Any]]:
        rows = zip(self.problem.options, self.taken, strict=True)
        found = [pair for row, mine in rows for pair in zip(row, mine, strict=True)]
        return found + [(self._option(change), v) for change, v in self.changes.items()]

    def _option(self, change: Change) -> Option:
        return self.problem.changes[change.tensor, change.layout]

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
        for change, variable in self.changes.items():
            for piece in self._option(change).code:
                self.solver.addConstr(variable <= self.linked[piece])

    def _arena(self) -> None:
        """Every step's own bytes and those of the tensors held are at most the arena."""
        solver, needs = self.solver, self.problem.demand
        sums: list[list[Any]] = [
            [v * n for v, n in zip(mine, row, strict=True)]
            for mine, row in zip(self.taken, needs.own, strict=True)
        ]
        fixed = [0] * len(sums)
        held_at: list[tuple[Held, dict[str, list[Any]]]] = []
        for held in needs.tensors:
            steps = range(held.made + 1, min(held.last, len(sums) - 1) + 1)
            if held.settled:
                for i in steps:
                    fixed[i] += held.sizes[held.settled]
                continue
            states = self._states(held, steps)
            held_at.append((held, states))
            for layout, row in states.items():
                for i, state in zip(steps, row, strict=True):
                    sums[i].append(state * held.sizes[layout])
        for parts, more in zip(sums, fixed, strict=True):
            solver.addConstr(solver.qsum(parts) + more <= self.arena)
        for change, variable in self.changes.items():
            self._both(change, variable, held_at, fixed[change.step])

    def _states(self, held: Held, steps: range) -> dict[str, list[Any]]:
        """By layout, for each of ``steps`` whether the tensor is held in it."""
        solver, row = self.solver, self.taken[held.made]
        states = {layout: [solver.addVariable(0, 1) for _ in steps] for layout in held.sizes}
        for layout, mine in states.items():
            before = solver.qsum(
                [v for v, written in zip(row, held.written, strict=True) if written == layout]
            )
            for i, state in zip(steps, mine, strict=True):
                made = self.changes.get(Change(i, held.tensor, layout))
                if made is not None:  # from what was held until now in another layout
                    others = [states[other][i - steps[0] - 1] for other in states
                              if other != layout and i > steps[0]]  # fmt: skip
                    if i == steps[0]:
                        others = [v for v, w in zip(row, held.written, strict=True) if w != layout]
                    solver.addConstr(made <= solver.qsum(others))
                    solver.addConstr(state <= before + made)
                else:
                    solver.addConstr(state <= before)
                if i in held.wanted:
                    readers = zip(self.taken[i], held.wanted[i], strict=True)
                    users = [v for v, wanted in readers if wanted == layout]
                    solver.addConstr(state >= solver.qsum(users))
                before = state
        if held.last not in held.wanted:  # the scores are read where they were written
            for layout, mine in states.items():
                solver.addConstr(mine[-1] >= solver.qsum(
                    [v for v, w in zip(row, held.written, strict=True) if w == layout]
                ))  # fmt: skip
        return states

    def _both(
        self, change: Change, made: Any, held_at: list[tuple[Held, dict[str, list[Any]]]],
        fixed: int,
    ) -> None:  # fmt: skip
        """While a layout changes, the tensor is there twice."""
        solver = self.solver
        parts = [made * max(fixed, 0)]
        for held, states in held_at:
            at = change.step - held.made - 1
            for layout, mine in states.items():
                if not 0 <= at < len(mine):
                    continue
                if held.tensor != change.tensor:
                    # what is held at the step and not made for it
                    parts.append((mine[at] + made - 1) * held.sizes[layout])
                else:
                    parts.append(made * held.sizes[layout])
        solver.addConstr(solver.qsum(parts) <= self.arena)

    def _executable(self) -> None:
        solver, problem = self.solver, self.problem
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

    def _copied(self) -> Any:
        """Code: of kernels, and of weights that are compiled into it."""
        parts = [self.linked[piece] * n for piece, n in self._code().items()]
        parts += [v * o.cost.flash_weights for o, v in self._everything()
                  if o.kernel.file.packing == COMPILED]  # fmt: skip
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
        made = sorted(c for c, v in self.changes.items() if self.solver.val(v) > 0.5)
        return summed(problem, taken, _useful(problem, taken, made))


def _useful(
    problem: Problem, taken: Sequence[int], changes: Sequence[Change]
) -> tuple[Change, ...]:
    """``changes`` without those whose result nobody reads (they may cost nothing)."""
    by_name = {held.tensor: held for held in problem.demand.tensors}
    found: dict[tuple[str, str], Change] = {}
    for change in changes:
        held = by_name[change.tensor]
        readers = [i for i, row in held.wanted.items() if row[taken[i]] == change.layout]
        if held.written[taken[held.made]] != change.layout and readers:
            found.setdefault(
                (change.tensor, change.layout), Change(min(readers), change.tensor, change.layout)
            )
    return tuple(sorted(found.values()))


def _buffers(option: Option) -> tuple[object, ...]:
    """What of an option the arena depends on."""
    return option.cost.scratch_bytes, option.way.ports, option.overlap, option.kernel.file.in_place


def summed(problem: Problem, taken: Sequence[int], changes: Sequence[Change]) -> Chosen:
    """The sums of a choice."""
    options = [row[j] for row, j in zip(problem.options, taken, strict=True)]
    options += [problem.changes[c.tensor, c.layout] for c in changes]
    code = {piece: n for o in options for piece, n in o.code.items()}
    shared = max(aligned(o.cost.code_ram_bytes) for o in options)
    return Chosen(
        taken=tuple(taken),
        changes=tuple(changes),
        time=sum(problem.time(o) for o in options),
        flash=sum(code.values()) + sum(o.cost.flash_bytes for o in options),
        arena=bound(problem.demand, taken, changes),
        code=shared + sum(aligned(o.cost.kept_code_bytes) for o in options),
    )
