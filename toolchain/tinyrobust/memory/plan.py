"""The Plan: what ``codegen`` writes down, decided completely beforehand.

In: a Graph, a Board, forced kernels. Out: a frozen Plan with a kernel per layer and why, an
offset for every tensor and every scratch buffer, and the predicted costs. Over the budget is
BudgetError with the numbers. The bytes that the rest of the firmware takes are set aside here
by ``FIRMWARE_*``; ``image`` measures them afterwards and holds the exact check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from tinyrobust.artefact import canonical_json, sha256
from tinyrobust.boards import Board
from tinyrobust.errors import BudgetError, GraphError
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import Kernel, Layer, candidates, catalogue, layers, predict, storage
from tinyrobust.kernels.catalogue import refusal
from tinyrobust.kernels.predict import code_bytes
from tinyrobust.memory import budget
from tinyrobust.memory.arena import Arena, lower_bound, place
from tinyrobust.memory.choose import Option, choose, forced
from tinyrobust.memory.lifetimes import IMAGE, Lifetimes, lifetimes, scratch_name
from tinyrobust.registry import nearest

SCHEMA = "tinyrobust.plan/1"


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in the arena: ``count`` elements of ``type`` at ``offset`` bytes."""

    offset: int
    count: int
    type: str  # u8, i16, i32


@dataclass(frozen=True)
class Step:
    """A layer with its kernel. ``scratch_offset`` is 0 where ``scratch_bytes`` is 0.

    ``nodes`` are the Graph's nodes it computes, ``reads`` and ``output`` tensors; the predicted
    costs are bytes and instructions per inference.
    """

    name: str
    op: str
    kernel: str
    nodes: tuple[str, ...]
    reads: tuple[str, ...]
    output: str
    macs: int
    scratch_offset: int
    scratch_bytes: int
    flash_weights: int
    flash_tables: int
    instructions: int


@dataclass(frozen=True)
class Choice:
    """Why a layer has its kernel; ``costs`` of every kernel that accepts the layer."""

    layer: str
    kernel: str
    why: str
    costs: dict[str, dict[str, int]]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that generated code needs; see the module."""

    graph: Graph
    board: str
    core: str
    steps: tuple[Step, ...]
    places: dict[str, Place]  # every tensor that exists on the device, and IMAGE
    arena_bytes: int
    arena_lower_bound_bytes: int
    code_bytes: int  # of the kernels in use, measured when they were calibrated
    choices: tuple[Choice, ...]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The Graph's layers, one per step."""
        return layers(self.graph)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels in use, by id."""
        return tuple(catalogue()[k] for k in sorted({s.kernel for s in self.steps}))

    @property
    def image(self) -> Place:
        """Where the raw uint8 input is written before a run."""
        return self.places[IMAGE]

    @property
    def instructions(self) -> int:
        """Predicted instructions per inference."""
        return sum(step.instructions for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {
            "schema": SCHEMA,
            "graph_sha256": self.graph.sha256,
            "board": self.board,
            "core": self.core,
            "arena_bytes": self.arena_bytes,
            "arena_lower_bound_bytes": self.arena_lower_bound_bytes,
            "code_bytes": self.code_bytes,
            "instructions": self.instructions,
            "steps": [
                {**asdict(step), "nodes": list(step.nodes), "reads": list(step.reads)}
                for step in self.steps
            ],
            "places": {name: asdict(p) for name, p in self.places.items()},
            "choices": [asdict(choice) for choice in self.choices],
        }

    @cached_property
    def sha256(self) -> str:
        """Content hash of the plan, which names the Graph's own hash and the board."""
        return sha256(canonical_json(self.as_json()).encode())


def plan(graph: Graph, board: Board, *, force: Mapping[str, str] | None = None) -> Plan:
    """The fastest plan of ``graph`` within the budget of ``board``.

    ``force`` maps layer names to kernel ids. Raises BudgetError (too large), GraphError (a layer
    that no kernel computes; an unknown layer or kernel in ``force``, or one that refuses it).
    """
    force = dict(force or {})
    core = board.core
    steps = layers(graph)
    _check_force(force, steps, graph, core)
    options = [
        [Option(k, predict(k, layer, graph, core), code_bytes(k, core))
         for k in candidates(layer, graph, core)]
        for layer in steps
    ]  # fmt: skip
    limits = budget.limits(board)
    allowed = forced(steps, options, force)
    arena, alive, taken = _fit(graph, steps, allowed, limits)
    chosen = [row[j] for row, j in zip(allowed, taken, strict=True)]
    return _plan(graph, board, steps, options, chosen, arena, alive, force)


def _fit(
    graph: Graph,
    steps: Sequence[Layer],
    options: Sequence[Sequence[Option]],
    limits: budget.Limits,
) -> tuple[Arena, Lifetimes, tuple[int, ...]]:
    """Choose kernels, place the arena; where placing needs more than the sum of what is alive,
    choose again with less RAM until it fits."""
    none = [0] * len(steps)
    smallest = [min(row, key=lambda o: o.cost.scratch_bytes) for row in options]
    alive = lifetimes(graph, steps, [o.kernel for o in smallest], none, grow=False)
    alive_bytes = [budget.alive_bytes(alive.buffers, i) for i in range(len(steps))]
    ram_bytes = limits.arena_bytes
    smallest_arena: int | None = None
    while True:
        taken = choose(options, alive_bytes, limits.flash_bytes, ram_bytes)
        if taken is None:
            raise budget.explain(steps, options, alive, limits, smallest_arena)
        chosen = [row[j] for row, j in zip(options, taken, strict=True)]
        arena, found = _smallest_arena(graph, steps, chosen)
        if arena.bytes <= limits.arena_bytes:
            return arena, found, taken
        smallest_arena = min(arena.bytes, smallest_arena or arena.bytes)
        worst = max(
            n + option.cost.scratch_bytes for n, option in zip(alive_bytes, chosen, strict=True)
        )
        ram_bytes = worst - 1


def _smallest_arena(
    graph: Graph, steps: Sequence[Layer], chosen: Sequence[Option]
) -> tuple[Arena, Lifetimes]:
    kernels = [o.kernel for o in chosen]
    scratch = [o.cost.scratch_bytes for o in chosen]
    found = [lifetimes(graph, steps, kernels, scratch, grow=grow) for grow in (False, True)]
    placed = [(place(f.buffers), f) for f in found]
    return min(placed, key=lambda p: p[0].bytes)


def _plan(
    graph: Graph, board: Board, steps: Sequence[Layer], options: Sequence[Sequence[Option]],
    chosen: Sequence[Option], arena: Arena, alive: Lifetimes, force: Mapping[str, str],
) -> Plan:  # fmt: skip
    types = storage(graph)
    places = {
        t.name: Place(arena.offsets[alive.home[t.name]], t.size, types[t.name])
        for t in graph.tensors if t.name in alive.home
    } | {IMAGE: Place(arena.offsets[alive.home[IMAGE]], graph.input.size, "u8")}  # fmt: skip
    return Plan(
        graph=graph,
        board=board.id,
        core=board.core,
        steps=tuple(
            Step(
                name=layer.name, op=layer.op, kernel=option.kernel.id, nodes=layer.nodes,
                reads=layer.reads, output=layer.output, macs=graph.macs(layer.node),
                scratch_offset=arena.offsets.get(scratch_name(layer), 0),
                scratch_bytes=option.cost.scratch_bytes,
                flash_weights=option.cost.flash_weights, flash_tables=option.cost.flash_tables,
                instructions=option.cost.instructions,
            )
            for layer, option in zip(steps, chosen, strict=True)
        ),
        places=places,
        arena_bytes=arena.bytes,
        arena_lower_bound_bytes=lower_bound(alive.buffers),
        code_bytes=sum({o.kernel.id: o.code_bytes for o in chosen}.values()),
        choices=tuple(
            _explain_choice(layer, row, option, force)
            for layer, row, option in zip(steps, options, chosen, strict=True)
        ),
    )  # fmt: skip


def _explain_choice(
    layer: Layer, row: Sequence[Option], taken: Option, force: Mapping[str, str]
) -> Choice:
    fastest = min(row, key=lambda o: o.cost.instructions)
    if layer.name in force:
        why = "forced"
    elif len(row) == 1:
        why = "the only kernel that accepts it"
    elif taken.cost.instructions == fastest.cost.instructions:
        why = "the fastest"
    else:
        flash = (fastest.cost.flash_weights + fastest.cost.flash_tables
                 - taken.cost.flash_weights - taken.cost.flash_tables)  # fmt: skip
        why = (
            f"fits the budget; {fastest.kernel.id} would be faster by "
            f"{taken.cost.instructions - fastest.cost.instructions:,} instructions and take "
            f"{fastest.cost.scratch_bytes - taken.cost.scratch_bytes:+,} B of scratch, "
            f"{flash:+,} B of flash besides its code of {fastest.code_bytes:,} B"
        )
    costs = {o.kernel.id: asdict(o.cost) for o in row}
    return Choice(layer.name, taken.kernel.id, why, costs)


def _check_force(force: Mapping[str, str], steps: Sequence[Layer], graph: Graph, core: str) -> None:
    by_name = {layer.name: layer for layer in steps}
    for name, kernel in force.items():
        if name not in by_name:
            raise GraphError(f"no layer '{name}' to force a kernel on", nearest(name, by_name))
        layer = by_name[name]
        fitting = [k.id for k in candidates(layer, graph, core)]
        if kernel not in catalogue():
            raise GraphError(f"no kernel '{kernel}' for layer '{name}'", nearest(kernel, fitting))
        reason = refusal(catalogue()[kernel], layer, graph, core)
        if reason:
            raise BudgetError(
                f"kernel '{kernel}' does not accept layer '{name}': {reason}",
                f"kernels that do: {', '.join(fitting)}",
            )
