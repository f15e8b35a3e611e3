"""The choice among kernels, variants and layouts; overlaps in the arena; the frontier."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import resnet8_graph, tiny_graph
from tinyrobust import boards, memory
from tinyrobust.errors import BudgetError, GraphError
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import HWC, PLANAR4, Cost, Ports, Way, catalogue, layers, stored_count
from tinyrobust.memory import Aim, budget
from tinyrobust.memory.arena import (
    Buffer,
    _first_fit,
    _touching,
    aligned,
    lower_bound,
    place,
    shared_bytes,
)
from tinyrobust.memory.choose import Ceiling, Problem, Weights, choose
from tinyrobust.memory.demand import demand
from tinyrobust.memory.frontier import alternatives, frontier
from tinyrobust.memory.options import Option
from tinyrobust.memory.planner import NEARLY, fit, prepare

BOARD = boards.load("nucleo-h743")
PLENTY = Ceiling(flash=1 << 24, arena=1 << 24, code=1 << 24, ram=1 << 24)
FASTEST = (Weights(time=1), Weights(flash=1))


# The arena.


def holds(buffers: list[Buffer], overlaps: dict[tuple[str, str], int], at: dict[str, int]) -> bool:
    """True when no two buffers alive together lie as they must not."""
    for a, b in itertools.combinations(buffers, 2):
        apart = (at[a.name] + a.bytes <= at[b.name]) or (at[b.name] + b.bytes <= at[a.name])
        if not a.meets(b) or apart:
            continue
        ahead = [n for (out, src), n in overlaps.items() if {out, src} == {a.name, b.name}
                 and at[out] + n <= at[src]]  # fmt: skip
        if not ahead:
            return False
    return True


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Buffer], dict[tuple[str, str], int]]:
    """Tensors one after the other, some of which may lie over the one before, and others."""
    sizes = draw(st.lists(st.integers(1, 400), min_size=2, max_size=6))
    buffers = [Buffer(f"t{i}", n, i, i + 1) for i, n in enumerate(sizes)]
    overlaps = {}
    for i in range(1, len(sizes)):
        if draw(st.booleans()):
            overlaps[f"t{i}", f"t{i - 1}"] = draw(st.integers(-20, 200))
    rows = draw(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 5), st.integers(0, 3)),
                         max_size=3))  # fmt: skip
    buffers += [Buffer(f"o{i}", n, first, first + more) for i, (n, first, more) in enumerate(rows)]
    return buffers, overlaps


@settings(max_examples=60, deadline=None)
@given(chains())
def test_outputs_overlap_sources_only_as_far_as_allowed(
    drawn: tuple[list[Buffer], dict[tuple[str, str], int]],
) -> None:
    buffers, overlaps = drawn
    arena = place(buffers, overlaps)
    assert holds(buffers, overlaps, arena.offsets)
    assert lower_bound(buffers, overlaps) <= arena.bytes
    assert arena.bytes <= place(buffers).bytes
    assert all(offset % 8 == 0 for offset in arena.offsets.values())


@settings(max_examples=25, deadline=None)
@given(chains())
def test_few_buffers_are_placed_as_well_as_any_order_of_first_fit(
    drawn: tuple[list[Buffer], dict[tuple[str, str], int]],
) -> None:
    buffers, overlaps = drawn
    buffers = buffers[:5]
    touching = _touching(buffers, overlaps)
    every = (_first_fit(order, touching).bytes for order in itertools.permutations(buffers))
    assert place(buffers, overlaps).bytes == min(every)


@pytest.mark.parametrize(
    ("output", "source", "ahead", "saved"),
    [(64, 64, 0, 64), (64, 64, 16, 48), (128, 64, 64, 64), (64, 64, 64, 0), (64, 64, 200, 0),
     (64, 128, -32, 64)],
)  # fmt: skip
def test_bytes_that_an_overlap_saves(output: int, source: int, ahead: int, saved: int) -> None:
    assert shared_bytes(output, source, ahead) == saved
    buffers = [Buffer("source", source, 0, 1), Buffer("output", output, 1, 2)]
    arena = place(buffers, {("output", "source"): ahead})
    assert arena.bytes == aligned(output) + aligned(source) - saved


# The choice.


def problem(graph: Graph, rows: list[list[Option]], changes: Any = None) -> Problem:
    """A problem with the options of ``rows`` in place of the catalogue's."""
    found = layers(graph)
    needs = demand(graph, found, rows)
    return Problem(graph, found, tuple(map(tuple, rows)), needs, changes or {}, in_cycles=False)


def option(kernel: str, time: int, *, ports: Ports | None = None, **more: Any) -> Option:
    """An option of a kernel of the catalogue with costs of its own."""
    cost = Cost(more.pop("weights", 0), 0, more.pop("scratch", 0), time)
    cost = dataclasses.replace(cost, **{k: more.pop(k) for k in tuple(more) if k in (
        "cycles", "code_ram_bytes", "kept_code_bytes")})  # fmt: skip
    way = Way({}, ports or Ports())
    return Option(catalogue()[kernel], cost, more.pop("code", {kernel: 0}), way, **more)


def plain_rows(graph: Graph) -> list[list[Option]]:
    """One option that takes 100 of everything for every layer."""
    kernels = {"input": "input_u8", "conv2d": "conv2d_t2_u8", "pool2d": "pool2d_u8",
               "global_average_pool": "global_average_pool_u8", "dense": "dense_t2_u8"}  # fmt: skip
    return [[option(kernels[layer.op], 100)] for layer in layers(graph)]


PLANAR = Ports(source=PLANAR4, output=PLANAR4)


def test_a_planar_kernel_needs_a_planar_source_or_a_change() -> None:
    graph = tiny_graph()  # input, conv1, pool, conv, average, dense
    rows = plain_rows(graph)
    rows[1].append(option("conv2d_tl_u8", 10, ports=PLANAR))
    assert choose(problem(graph, rows), PLENTY, *FASTEST).taken[1] == 0  # nobody writes it so
    rows[0].append(option("input_u8", 120, ports=Ports(output=PLANAR4)))
    taken = choose(problem(graph, rows), PLENTY, *FASTEST)
    assert taken is not None and taken.taken[:2] == (0, 0)  # nor reads what it writes
    rows[2].append(option("pool2d_u8", 110, ports=Ports(source=PLANAR4)))
    taken = choose(problem(graph, rows), PLENTY, *FASTEST)
    assert taken is not None and taken.taken[:3] == (1, 1, 1)
    assert taken.time == 120 + 10 + 110 + 3 * 100


@pytest.mark.parametrize(("price", "changed"), [(20, True), (200, False)])
def test_a_layout_change_is_made_where_it_pays(price: int, changed: bool) -> None:
    graph = tiny_graph()
    rows = plain_rows(graph)
    rows[1].append(option("conv2d_tl_u8", 10, ports=Ports(source=PLANAR4)))
    way = Ports(source=HWC, output=PLANAR4)
    changes = {("q", PLANAR4): option("input_u8", price, ports=way)}
    asked = problem(graph, rows, changes)
    taken = choose(asked, PLENTY, *FASTEST)
    assert taken is not None and bool(taken.changes) is changed
    assert taken.time == (510 + price if changed else 600)
    found = fit(asked, PLENTY, FASTEST)
    assert found is not None
    names = [layer.name for layer, _ in found.chain]
    assert ("q@planar4" in names) is changed
    if changed:
        assert names.index("q@planar4") == names.index("conv1") - 1
        planar = next(b for b in found.alive.buffers if b.name == "q@planar4")
        assert planar.bytes == stored_count(graph.tensor["q"], "u8", PLANAR4)
        source, copy = found.arena.offsets["@image"], found.arena.offsets["q@planar4"]
        assert copy >= source + 192 or copy + planar.bytes <= source


def test_executable_memory_is_shared_and_kept_code_is_not() -> None:
    graph = tiny_graph()
    rows = plain_rows(graph)
    for i in (1, 3):
        quick = option("conv2d_tl_u8", 50, code_ram_bytes=1000)
        kept = option("conv2d_tl_u8", 10, kept_code_bytes=1000)
        rows[i] += [quick, kept]
    asked = problem(graph, rows)

    def best(code: int) -> tuple[int, int]:
        found = choose(asked, dataclasses.replace(PLENTY, code=code), *FASTEST)
        assert found is not None
        return found.time, found.code

    assert best(999) == (600, 0)
    assert best(1000) == (400 + 2 * 50, 1000)
    assert best(2000) == (400 + 2 * 10, 2000)
    arena = choose(asked, PLENTY, *FASTEST).arena
    tight = dataclasses.replace(PLENTY, ram=arena + 1000)
    assert choose(asked, tight, *FASTEST).time == 500


def test_shared_code_counts_once() -> None:
    graph = tiny_graph()
    rows = plain_rows(graph)
    rows[1].append(option("conv2d_tl_u8", 10, code={"a": 100, "both": 500}))
    rows[3].append(option("conv2d_tl2_u8", 10, code={"b": 100, "both": 500}))
    taken = choose(problem(graph, rows), dataclasses.replace(PLENTY, flash=700), *FASTEST)
    assert taken is not None and (taken.time, taken.flash) == (420, 700)
    taken = choose(problem(graph, rows), dataclasses.replace(PLENTY, flash=699), *FASTEST)
    assert taken is not None and (taken.time, taken.flash) == (510, 600)


def test_cycles_count_where_every_kernel_states_them() -> None:
    graph = tiny_graph()
    rows = [[dataclasses.replace(o, cost=dataclasses.replace(o.cost, cycles=200)) for o in row]
            for row in plain_rows(graph)]  # fmt: skip
    rows[1].append(option("conv2d_tl_u8", 90, cycles=300))
    asked = dataclasses.replace(problem(graph, rows), in_cycles=True)
    assert choose(asked, PLENTY, *FASTEST).taken[1] == 0
    assert choose(problem(graph, rows), PLENTY, *FASTEST).taken[1] == 1


# Aims and limits on the real catalogue.


def test_a_policy_without_code_in_ram_leaves_the_generator_out() -> None:
    graph = resnet8_graph()
    free = memory.plan(graph, BOARD)
    bound = memory.plan(graph, BOARD, aim=Aim(code_in_ram=False))
    assert free.executable_bytes > 0 == bound.executable_bytes
    assert free.instructions < bound.instructions
    assert not {s.kernel for s in bound.steps if s.code_ram_bytes}


def test_aims_differ_as_they_say() -> None:
    graph = resnet8_graph()
    plans = {aim: memory.plan(graph, BOARD, aim=Aim(aim)) for aim in ("speed", "size", "balanced")}
    flash = {aim: plan.flash_bytes for aim, plan in plans.items()}
    time = {aim: plan.instructions for aim, plan in plans.items()}
    assert flash["size"] <= flash["balanced"] <= flash["speed"]
    assert time["speed"] <= time["balanced"] <= time["size"]
    assert plans["size"].ram_bytes < plans["speed"].ram_bytes and time["speed"] < time["size"]


def test_limits_hold_and_say_the_least_that_would_do() -> None:
    graph = resnet8_graph()
    least = memory.plan(graph, BOARD, aim=Aim("size")).flash_bytes + budget.FIRMWARE_FLASH_BYTES
    found = memory.plan(graph, BOARD, aim=Aim(max_flash_bytes=least))
    assert found.flash_bytes + budget.FIRMWARE_FLASH_BYTES == least
    with pytest.raises(BudgetError) as caught:
        memory.plan(graph, BOARD, aim=Aim(max_flash_bytes=least - 1))
    assert f"needs at least {least:,} B of flash" in caught.value.message

    asked = prepare(graph, BOARD, {})
    leanest = fit(asked, budget.limits(BOARD).ceiling, [Weights(ram=1)])
    assert leanest is not None
    ram = leanest.ram + budget.FIRMWARE_RAM_BYTES + BOARD.budget.stack_bytes
    assert memory.plan(graph, BOARD, aim=Aim(max_ram_bytes=ram)).ram_bytes == leanest.ram
    with pytest.raises(BudgetError) as caught:
        memory.plan(graph, BOARD, aim=Aim(max_ram_bytes=ram - 1))
    assert f"{ram:,} B of RAM" in caught.value.message


def test_flash_and_ram_that_exclude_each_other_are_told_apart() -> None:
    graph = tiny_graph()
    rows = plain_rows(graph)
    rows[1] = [option("conv2d_tl_u8", 10, weights=9000, code={}),
               option("conv2d_tl_u8", 10, scratch=9000, code={})]  # fmt: skip
    asked = problem(graph, rows)
    arena = choose(asked, PLENTY, Weights(ram=1)).arena
    limits = budget.Limits("b", Ceiling(8999, arena + 8999, 0, arena + 8999), 9999, 99999)
    assert fit(asked, limits.ceiling, FASTEST) is None
    text = str(budget.explain(asked, limits, fit))
    assert "within its 99,999 B of RAM the network needs at least 10,000 B of flash" in text
    assert f"within its flash at least {99999 - 8999 + 9000:,} B of RAM" in text


def test_no_point_of_the_frontier_is_beaten() -> None:
    points = frontier(resnet8_graph(), BOARD, flash_levels=6, ram_levels=2)
    assert len(points) >= 4
    assert not any(a.beats(b) for a in points for b in points)
    best = memory.plan(resnet8_graph(), BOARD)
    time = [p.instructions if p.cycles is None else p.cycles for p in points]
    taken = best.instructions if best.cycles is None else best.cycles
    assert min(time) <= taken <= min(time) * (1 + NEARLY)  # and smaller for it


def test_the_next_best_is_never_better() -> None:
    graph = resnet8_graph()
    found = {a.layer: a for a in alternatives(graph, BOARD)}
    plan = memory.plan(graph, BOARD)
    choices = {c.layer: c for c in plan.choices}
    assert set(found) == {name for name, c in choices.items() if len(c.costs) > 1}
    for name, other in found.items():
        assert other.choice is not None and other.time >= -NEARLY * (plan.cycles or 0)
        assert other.choice != choices[name].choice


def test_a_setting_is_forced_by_name() -> None:
    graph = tiny_graph()
    rows = prepare(graph, BOARD, {})
    many = [o for o in rows.options[1] if o.way.variant]
    for wanted in many:
        plan = memory.plan(graph, BOARD, force={"conv1": wanted.label})
        assert plan.steps[1].variant == wanted.way.variant
    with pytest.raises(GraphError) as caught:
        memory.plan(graph, BOARD, force={"conv1": "conv2d_t2_u8:speed=9"})
    assert "no 'conv2d_t2_u8:speed=9' for layer 'conv1'" in caught.value.message
