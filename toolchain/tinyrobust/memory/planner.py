"""The planner: Graph and Board to Plan.

In: a Graph, a Board, forced kernels, an aim. Out: the Plan that is best by the aim within the
limits. Over the budget is BudgetError with the numbers. The bytes that the rest of the firmware
takes are set aside here by ``budget.FIRMWARE_*``; ``image`` measures them afterwards and holds
the exact check.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from tinyrobust.boards import Board
from tinyrobust.errors import BudgetError, GraphError
from tinyrobust.graph.nodes import TERNARY, Graph
from tinyrobust.graph.ports import input_type
from tinyrobust.kernels import (
    Layer,
    accepts,
    catalogue,
    layers,
    predict,
    storage,
    stored_count,
    view_roots,
)
from tinyrobust.kernels.layouts import HWC, LayoutChange, can_hold, change, copy_name
from tinyrobust.memory import budget
from tinyrobust.memory.arena import Arena, aligned, lower_bound, place
from tinyrobust.memory.choose import Ceiling, Chosen, Problem, Weights, choose
from tinyrobust.memory.demand import demand, state_bytes
from tinyrobust.memory.int8_form import int8_form
from tinyrobust.memory.lifetimes import Lifetimes, image_name, lifetimes, reads, scratch_name
from tinyrobust.memory.options import EVERY, Option, distinct, forced, of_layer
from tinyrobust.memory.plan import Choice, Optimize, Place, Plan, Step

WEIGHTS_AS_CODE = "compiled"  # the packing of codegen/packers that writes functions
# How often the choice is repeated because the arena came out larger than its lower bound: without
# the buffers that were tried, then with less RAM.
_TRIED = 8
_TIGHTER = 24
# For speed: what the time of a plan may exceed the least by to make it smaller, and how many bytes
# of RAM one of flash is worth then (weights as generated code take about five times the RAM that
# they take of flash as codes: with equal worth compiled weights would fill the flash instead).
NEARLY = 0.01
_RAM_IN_FLASH = 16
# For auto: what a plan for speed may take of the flash that the network would take in int8. Weights
# as generated code are fast on every core, and several times larger than int8 weights.
MORE_THAN_INT8 = 1.25


@dataclass(frozen=True)
class Aim:
    """What to optimise for, and limits below the board's own budget (bytes of a whole image).

    ``auto``: ``speed``, unless a ternary network would then take more than MORE_THAN_INT8 times the
    flash of its int8 form (``int8_form``) on the same board, fastest too: then ``balanced``. Who
    forces kernels or sets a limit has decided: then ``speed``.
    ``speed``: of what takes at most NEARLY more than the least time, the least flash and RAM
    together (of RAM a _RAM_IN_FLASH-th), then the least time. ``size``: least flash, then least
    RAM, then least time. ``balanced``: the least sum of time, flash and RAM, each relative to the
    least that it can be by itself. Without ``code_in_ram`` no kernel runs code that it generates,
    as a policy or a part may ask that never executes from RAM."""

    optimize: Optimize = "auto"
    max_flash_bytes: int | None = None
    max_ram_bytes: int | None = None
    code_in_ram: bool = True
    weights_as_code: bool = True  # without: all are arrays, none the operands of instructions

    @property
    def decides(self) -> bool:
        """True when the planner is to choose between speed and balanced by itself."""
        return self.optimize == "auto" and self.max_flash_bytes is self.max_ram_bytes is None

    def limit(self, board: Board) -> Board:
        """``board`` with the limits as its budget where they are lower, and without executable RAM
        when none is to be used."""
        own = board.budget
        flash = min(own.flash_bytes, self.max_flash_bytes or own.flash_bytes)
        ram = min(own.ram_bytes, self.max_ram_bytes or own.ram_bytes)
        smaller = own.model_copy(update={"flash_bytes": flash, "ram_bytes": ram})
        changed: dict[str, object] = {"budget": smaller}
        if not self.code_in_ram:
            changed["memories"] = [
                memory.model_copy(update={"use": [u for u in memory.use if u != "code_ram"]})
                for memory in board.memories
            ]
        return board.model_copy(update=changed)


AUTO = Aim()
SPEED = Aim("speed")


@dataclass(frozen=True, eq=False)
class Fit:
    """A choice with its arena: ``chain`` is every step with its option, layout changes put in."""

    chosen: Chosen
    chain: tuple[tuple[Layer, Option], ...]
    arena: Arena
    alive: Lifetimes

    @property
    def ram(self) -> int:
        """Arena and executable RAM."""
        return self.arena.bytes + self.chosen.code


def plan(
    graph: Graph, board: Board, *, force: Mapping[str, str] | None = None, aim: Aim = AUTO
) -> Plan:
    """The best plan of ``graph`` by ``aim`` within the budget of ``board``.

    ``force`` maps layer names to kernel ids (``options.forced``). Raises BudgetError (too large,
    with the least it would need), GraphError (a layer that no kernel computes; an unknown layer
    or kernel in ``force``).
    """
    board = aim.limit(board)
    problem = prepare(graph, board, force or {}, weights_as_code=aim.weights_as_code)
    limits = budget.limits(board)
    # Where flash is slow to run from, first only what leaves room to run it from RAM.
    hot = budget.hot_bytes(board)
    ceilings = [limits.ceiling]
    if hot is not None:
        ceilings.insert(0, dataclasses.replace(limits.ceiling, hot=hot))
    optimize: Optimize = "speed" if aim.optimize == "auto" else aim.optimize
    found = _first_fit(problem, ceilings, optimize)
    if found is None:
        raise budget.explain(problem, limits, fit)
    if aim.decides and not force and larger_than_int8(graph, board, found):
        optimize = "balanced"
        found = _first_fit(problem, ceilings, optimize) or found
    return _priced(_plan(problem, board, found, force or {}, optimize))


def _first_fit(problem: Problem, ceilings: Sequence[Ceiling], optimize: Optimize) -> Fit | None:
    fits = (fit(problem, ceiling, goals(problem, ceiling, optimize)) for ceiling in ceilings)
    return next((f for f in fits if f is not None), None)


def larger_than_int8(graph: Graph, board: Board, found: Fit) -> bool:
    """True when the plan takes clearly more flash than the network's int8 form would on ``board``;
    False when there is no such form, or it does not fit."""
    if graph.family != "fixed":
        return False
    weights = sum(node.weights.size for node in graph.nodes if isinstance(node, TERNARY))
    if found.chosen.flash <= MORE_THAN_INT8 * weights:
        return False
    try:
        other = plan(int8_form(graph), board, aim=SPEED)
    except (BudgetError, GraphError):
        return False
    return found.chosen.flash > MORE_THAN_INT8 * other.flash_bytes


def prepare(
    graph: Graph, board: Board, force: Mapping[str, str], *, weights_as_code: bool = True
) -> Problem:
    """What there is to choose from. Raises as ``plan``."""
    core = board.core
    found = layers(graph)
    options = forced(found, [of_layer(la, graph, core) for la in found], force, graph, core)
    options = [distinct(row) for row in options]
    if not budget.executable(board):
        options = [[o for o in row if not o.cost.code_ram_bytes + o.cost.kept_code_bytes] or row
                   for row in options]  # fmt: skip
    if not weights_as_code:
        options = [[o for o in row if o.kernel.file.packing != WEIGHTS_AS_CODE] or row
                   for row in options]  # fmt: skip
    changes = _changes(graph, found, options, core)
    everything = [*(o for row in options for o in row), *changes.values()]
    return Problem(
        graph=graph,
        layers=found,
        options=tuple(tuple(row) for row in options),
        demand=demand(graph, found, options),
        changes=changes,
        in_cycles=all(o.cost.cycles is not None for o in everything),
    )


def _changes(
    graph: Graph, found: Sequence[Layer], options: Sequence[Sequence[Option]], core: str
) -> dict[tuple[str, str], Option]:
    """The layout changes that may help: somebody reads what not every option writes."""
    kernels = [k for k in catalogue().values() if k.file.op == LayoutChange.op]
    types, roots = storage(graph), view_roots(graph)
    wanted: dict[str, set[str]] = {}
    for layer, row in zip(found, options, strict=True):
        for option in row:
            for read in reads(layer, option.way.ports, roots):
                wanted.setdefault(read.root, set()).add(read.layout)
    changes: dict[tuple[str, str], Option] = {}
    for layer, row in zip(found, options, strict=True):
        tensor = layer.output
        for layout in sorted(wanted.get(tensor, ())):
            if all(o.way.ports.output == layout for o in row):
                continue
            if not can_hold(graph.tensor[tensor], types[tensor], layout):
                continue
            step = change(graph, tensor, layout)
            if any(accepts(k, step, graph, core) for k in kernels):
                makers = [o for o in of_layer(step, graph, core) if o.way.ports.output == layout]
                if makers:
                    changes[tensor, layout] = min(makers, key=lambda o: o.cost.instructions)
    return changes


def goals(problem: Problem, ceiling: Ceiling, optimize: Optimize) -> tuple[Weights, ...]:
    """What to minimise, in order of importance."""
    time, flash, ram = Weights(time=1), Weights(flash=1), Weights(ram=1)
    if optimize == "speed":
        return Weights(time=1, slack=NEARLY), Weights(flash=1, ram=1 / _RAM_IN_FLASH), time
    if optimize == "size":
        return flash, ram, time
    best = [choose(problem, ceiling, goal) for goal in (time, flash, ram)]
    if any(b is None for b in best):
        return (time,)
    fastest, smallest, least = (b for b in best if b is not None)
    return (Weights(1 / max(fastest.time, 1), 1 / max(smallest.flash, 1), 1 / max(least.ram, 1)),)


def fit(problem: Problem, ceiling: Ceiling, wanted: Iterable[Weights]) -> Fit | None:
    """Choose and place. Where the arena comes out larger than the sum of what is alive, choose
    again without these buffers, then with less RAM; at last take the least RAM there is. None
    when nothing fits."""
    wanted = tuple(wanted)
    tighter = ceiling
    tried: list[Chosen] = []
    for _ in range(_TRIED + _TIGHTER):
        chosen = choose(problem, tighter, *wanted, without=tried)
        if chosen is None:
            break
        found = _place(problem, chosen)
        if ceiling.holds(found.arena.bytes, found.chosen.code):
            return found
        if len(tried) < _TRIED:
            tried.append(chosen)
        else:
            least = min(tighter.arena, chosen.arena - 1)
            tighter = dataclasses.replace(tighter, arena=least)
    for last in ((Weights(ram=1), *wanted), (Weights(ram=1),)):
        chosen = choose(problem, ceiling, *last)
        if chosen is not None:
            found = _place(problem, chosen)
            if ceiling.holds(found.arena.bytes, found.chosen.code):
                return found
    return None


def _place(problem: Problem, chosen: Chosen) -> Fit:
    chain = _chain(problem, chosen)
    alive = [lifetimes(problem.graph, chain, grow=grow) for grow in (False, True)]
    placed = [(place(a.buffers, a.overlaps), a) for a in alive]
    arena, found = min(placed, key=lambda p: p[0].bytes)
    arena = _with_states(arena, problem.graph)
    return Fit(chosen, chain, arena, found)


def _with_states(arena: Arena, graph: Graph) -> Arena:
    """``arena`` with the states behind everything that the steps overwrite."""
    offsets, end = dict(arena.offsets), aligned(arena.bytes) if graph.states else arena.bytes
    for port in graph.states:
        offsets[port.tensor] = end
        end += aligned(graph.tensor[port.tensor].bytes)
    return dataclasses.replace(arena, offsets=offsets, bytes=end)


def _chain(problem: Problem, chosen: Chosen) -> tuple[tuple[Layer, Option], ...]:
    """The steps in order, each layout change just before the first step that needs it."""
    chain: list[tuple[Layer, Option]] = []
    rows = zip(problem.layers, problem.options, chosen.taken, strict=True)
    for i, (layer, row, taken) in enumerate(rows):
        for made in chosen.changes:
            if made.step == i:
                key = made.tensor, made.layout
                chain.append((change(problem.graph, *key), problem.changes[key]))
        chain.append((layer, row[taken]))
    return tuple(chain)


def _plan(
    problem: Problem, board: Board, found: Fit, force: Mapping[str, str], optimize: Optimize
) -> Plan:
    graph, alive, arena = problem.graph, found.alive, found.arena
    types = storage(graph)
    places = {
        image_name(i): Place(arena.offsets[alive.home[image_name(i)]],
                             graph.tensor[port.tensor].size, input_type(graph, port.name))
        for i, port in enumerate(graph.inputs)
    }  # fmt: skip
    written = {layer.output: option.way.ports.output for layer, option in found.chain}
    roots = view_roots(graph)
    for name, home in alive.home.items():
        if name in places:
            continue
        tensor = graph.tensor[name.partition("@")[0]]
        root = roots.get(name, name)
        if root != name and written[root] != HWC:  # a view of the tensor's dense copy
            root = copy_name(root, HWC)
            home = alive.home.get(root, home)
        layout = written.get(root, HWC)
        type_ = types[tensor.name]
        places[name] = Place(
            arena.offsets[home], stored_count(tensor, type_, layout), type_, layout
        )
    for name, state in graph.state_of.items():
        tensor = graph.tensor[name]
        places[name] = Place(arena.offsets[state], tensor.size, types[name])
    options = [option for _, option in found.chain]
    shared = max(aligned(o.cost.code_ram_bytes) for o in options)
    offsets = _kept_offsets(shared, options)
    code = budget.executable(board, found.chosen.code) if found.chosen.code else ""
    rows = dict(zip((la.name for la in problem.layers), problem.options, strict=True))
    return Plan(
        graph=graph,
        board=board.id,
        core=board.core,
        layers=tuple(layer for layer, _ in found.chain),
        steps=tuple(
            _step(layer, option, graph, arena, at)
            for (layer, option), at in zip(found.chain, offsets, strict=True)
        ),
        places=places,
        arena_bytes=arena.bytes,
        arena_lower_bound_bytes=lower_bound(alive.buffers, alive.overlaps) + state_bytes(graph),
        code_bytes=sum({piece: n for o in options for piece, n in o.code.items()}.values()),
        code_ram_bytes=shared,
        code_memory=code,
        code_cached=budget.cached(board, code),
        optimize=optimize,
        choices=tuple(
            _explain_choice(problem, layer, rows.get(layer.name, (option,)), option, force)
            for layer, option in found.chain
        ),
    )


def _priced(plan: Plan) -> Plan:
    """``plan`` with the predicted time of code in RAM as it turned out where everything lies."""
    steps = []
    for i, step in enumerate(plan.steps):
        way = plan.way(i)
        if way.cached or way.over_operand is not None:
            cost = predict(catalogue()[step.kernel], plan.layers[i], plan.graph, plan.core, way)
            step = dataclasses.replace(step, instructions=cost.instructions, cycles=cost.cycles)
        steps.append(step)
    return dataclasses.replace(plan, steps=tuple(steps))


def _kept_offsets(shared: int, options: Sequence[Option]) -> list[int]:
    offsets = []
    for option in options:
        offsets.append(shared if option.cost.kept_code_bytes else 0)
        shared += aligned(option.cost.kept_code_bytes)
    return offsets


def _step(layer: Layer, option: Option, graph: Graph, arena: Arena, kept: int) -> Step:
    cost = option.cost
    return Step(
        name=layer.name, op=layer.op, kernel=option.kernel.id, nodes=layer.nodes,
        reads=layer.reads, output=layer.output, macs=graph.macs(layer.node),
        scratch_offset=arena.offsets.get(scratch_name(layer), 0),
        scratch_bytes=cost.scratch_bytes,
        flash_weights=cost.flash_weights, flash_tables=cost.flash_tables,
        instructions=cost.instructions, cycles=cost.cycles,
        variant=dict(option.way.variant), layout=asdict(option.way.ports),
        code_ram_bytes=cost.code_ram_bytes, kept_code_bytes=cost.kept_code_bytes,
        kept_code_offset=kept,
    )  # fmt: skip


def _explain_choice(
    problem: Problem, layer: Layer, row: Sequence[Option], taken: Option, force: Mapping[str, str]
) -> Choice:
    fastest = min(row, key=lambda o: (problem.time(o), o is not taken))
    if layer.op == LayoutChange.op:
        why = "its readers want another layout than its writer's"
    elif layer.name in force or force.get(EVERY, "").partition(":")[0] == taken.kernel.id:
        why = "forced"
    elif len(row) == 1:
        why = "the only kernel that accepts it"
    elif taken is fastest:
        why = "the fastest"
    else:
        unit = "cycles" if problem.in_cycles else "instructions"
        kept = fastest.way.ports == taken.way.ports
        why = (
            f"{'fits the budget' if kept else 'goes with its neighbours'}; {fastest.label} would "
            "be faster by "
            f"{problem.time(taken) - problem.time(fastest):,} {unit} and take "
            f"{fastest.cost.scratch_bytes - taken.cost.scratch_bytes:+,} B of scratch, "
            f"{fastest.cost.flash_bytes - taken.cost.flash_bytes:+,} B of flash besides its code "
            f"of {sum(fastest.code.values()):,} B"
        )
    costs = {o.label: asdict(o.cost) for o in row}
    return Choice(layer.name, taken.kernel.id, taken.label, why, costs)
