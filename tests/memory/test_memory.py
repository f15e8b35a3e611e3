"""The planner: arena, lifetimes, kernel choice by force, budgets and their messages."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import random_graph, resnet8_graph, tiny_graph
from tests.kernels.host import dense_kernels
from tinyrobust import boards, memory
from tinyrobust.errors import BudgetError, GraphError
from tinyrobust.graph.nodes import Graph
from tinyrobust.memory import budget
from tinyrobust.memory.arena import ALIGN, Buffer, aligned, lower_bound, place
from tinyrobust.memory.budget import FIRMWARE_FLASH_BYTES, FIRMWARE_RAM_BYTES
from tinyrobust.memory.choose import Weights
from tinyrobust.memory.lifetimes import IMAGE

plan_module = importlib.import_module("tinyrobust.memory.planner")  # not the function of its name


def board(**budget: Any) -> boards.Board:
    """nucleo-h743 with another budget, and without executable RAM."""
    whole = boards.load("nucleo-h743")
    memories = [m.model_copy(update={"use": [u for u in m.use if u != "code_ram"]})
                for m in whole.memories]  # fmt: skip
    own = whole.budget.model_copy(update=budget)
    return whole.model_copy(update={"budget": own, "memories": memories})


def dense_plan(graph: Graph, board: boards.Board) -> memory.Plan:
    """A plan in which no tensor has a copy in another layout."""
    return memory.plan(graph, board, force=dense_kernels(graph, board.core))


def overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(0, 9), st.integers(0, 4)), min_size=1,
             max_size=14)
)  # fmt: skip
def test_no_two_buffers_alive_together_overlap(rows: list[tuple[int, int, int]]) -> None:
    buffers = [Buffer(f"b{i}", n, first, first + more) for i, (n, first, more) in enumerate(rows)]
    arena = place(buffers)
    assert lower_bound(buffers) <= arena.bytes <= sum(aligned(b.bytes) for b in buffers)
    for i, a in enumerate(buffers):
        start = arena.offsets[a.name]
        assert start % ALIGN == 0 and start + a.bytes <= arena.bytes
        for b in buffers[:i]:
            if a.meets(b):
                other = arena.offsets[b.name]
                assert not overlap((start, start + a.bytes), (other, other + b.bytes))


def test_resnet8_meets_the_lower_bound() -> None:
    plan = dense_plan(resnet8_graph(), boards.load("nucleo-h743"))
    assert plan.arena_bytes == plan.arena_lower_bound_bytes
    # three 16 KiB-sized tensors are never alive together with more than this
    assert plan.arena_bytes <= 40960 + max(step.scratch_bytes for step in plan.steps)


@pytest.mark.parametrize("seed", range(12))
def test_tensors_that_are_still_needed_do_not_overlap(seed: int) -> None:
    graph = random_graph(seed)
    plan = dense_plan(graph, boards.load("host"))
    size = {"u8": 1, "i16": 2, "i32": 4}

    def span(name: str) -> tuple[int, int]:
        found = plan.places[name]
        return found.offset, found.offset + found.count * size[found.type]

    for i, step in enumerate(plan.steps):
        later = {n for s in plan.steps[i + 1 :] for n in s.reads} | {graph.output.name}
        made = {s.output for s in plan.steps[:i]}
        scratch = (step.scratch_offset, step.scratch_offset + step.scratch_bytes)
        for name in later & made:
            assert not overlap(span(step.output), span(name)), (step.name, name)
        for name in (later & made) | set(step.reads) | {step.output}:
            assert not step.scratch_bytes or not overlap(scratch, span(name)), (step.name, name)


def test_residuals_and_the_input_are_written_in_place() -> None:
    plan = dense_plan(resnet8_graph(), boards.load("nucleo-h743"))
    assert plan.image.offset == plan.places["q"].offset
    assert plan.places["requantize6_q"].offset == plan.places["requantize2_q"].offset


def test_a_tensor_that_the_kernel_still_reads_is_not_overwritten() -> None:
    from tests.graphs import Builder

    b = Builder(0, (6, 6, 8))
    acc = b.conv(8)
    b.requantize(acc, b.tensors[0])  # the residual is the convolution's own input
    b.flatten()
    b.dense(3)
    b.requantize(scores=True)
    plan = dense_plan(b.graph("own"), boards.load("host"))
    assert plan.places["requantize2_q"].offset != plan.places["q"].offset


def test_a_plan_is_plain_data_with_a_hash_of_graph_and_board() -> None:
    plan = memory.plan(tiny_graph(), boards.load("nucleo-h743"))
    again = memory.plan(tiny_graph(), boards.load("nucleo-h743"))
    assert json.loads(json.dumps(plan.as_json())) == plan.as_json()
    assert plan.sha256 == again.sha256
    assert plan.sha256 != memory.plan(tiny_graph(1), boards.load("nucleo-h743")).sha256
    assert plan.sha256 != memory.plan(tiny_graph(), boards.load("mps2-an500")).sha256
    assert IMAGE in plan.places
    assert {c.layer: c.kernel for c in plan.choices} == {s.name: s.kernel for s in plan.steps}


def test_too_little_ram_names_the_layer_and_the_numbers() -> None:
    small = board(ram_bytes=40 << 10, stack_bytes=4096)
    with pytest.raises(BudgetError) as caught:
        memory.plan(resnet8_graph(), small)
    text = str(caught.value)
    assert "nucleo-h743 has 40,960 B" in text
    assert "layer 'conv9'" in text or "layer 'conv10'" in text or "layer 'conv7'" in text
    assert "largest: tensor requantize" in text


def test_an_arena_that_cannot_be_packed_names_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = resnet8_graph()
    problem = plan_module.prepare(graph, board(), {})
    limits = budget.limits(board())
    least = plan_module.fit(problem, limits.ceiling, [Weights(ram=1)])
    assert least is not None
    need = least.arena.bytes
    real = plan_module.place

    def wasteful(buffers: list[Buffer], overlaps: Any) -> memory.Arena:
        arena = real(buffers, overlaps)
        return memory.Arena(arena.offsets, arena.bytes + 4096)

    monkeypatch.setattr(plan_module, "place", wasteful)
    ram = need + 1024 + FIRMWARE_RAM_BYTES + 8192
    with pytest.raises(BudgetError) as caught:
        memory.plan(graph, board(ram_bytes=ram, stack_bytes=8192))
    assert "B of RAM" in caught.value.message and f"has {ram:,} B" in caught.value.message
    assert "B for the network" in caught.value.message


def test_too_little_flash_names_the_largest_layer() -> None:
    with pytest.raises(BudgetError) as caught:
        memory.plan(resnet8_graph(), board(flash_bytes=32 << 10))
    text = str(caught.value)
    assert "of flash" in text and "nucleo-h743 has 32,768 B" in text
    assert "largest: layer 'conv14', 9," in text


FLASH_KIB = (41, 45, 256)


def test_a_tighter_flash_budget_trades_speed_for_bytes() -> None:
    graph = resnet8_graph()
    whole = without_code_ram(boards.load("nucleo-h743"))
    aims = [memory.Aim(max_flash_bytes=n << 10) for n in FLASH_KIB]
    plans = [memory.plan(graph, whole, aim=aim) for aim in aims]
    instructions = [plan.instructions for plan in plans]
    assert instructions == sorted(instructions, reverse=True) and len(set(instructions)) == 3
    for plan, kib in zip(plans, FLASH_KIB, strict=True):
        flash = sum(s.flash_weights + s.flash_tables for s in plan.steps) + plan.code_bytes
        assert flash == plan.flash_bytes <= (kib << 10) - FIRMWARE_FLASH_BYTES
    slower = [c for plan in plans[:2] for c in plan.choices if "would be faster by" in c.why]
    assert any(c.why.startswith("fits the budget") for c in slower)


def test_code_in_ram_needs_a_memory_for_it() -> None:
    graph, whole = resnet8_graph(), boards.load("nucleo-h743")
    plan = memory.plan(graph, whole)  # AXI SRAM is large enough to keep the code
    kept = sum(-(-s.kept_code_bytes // 8) * 8 for s in plan.steps)
    assert plan.executable_bytes == plan.code_ram_bytes + kept > 0x10000
    assert plan.code_memory == "AXI_SRAM"
    plan = memory.plan(graph, whole, aim=memory.Aim(max_ram_bytes=80 << 10))
    assert plan.code_memory == "ITCM" and 0 < plan.executable_bytes < 0x10000
    assert plan.ram_bytes == plan.arena_bytes + plan.executable_bytes
    plan = memory.plan(graph, without_code_ram(whole))
    assert plan.code_memory == "" and plan.executable_bytes == 0


def without_code_ram(whole: boards.Board) -> boards.Board:
    """``whole`` with a policy against executable RAM."""
    memories = [
        m.model_copy(update={"use": [use for use in m.use if use != "code_ram"]})
        for m in whole.memories
    ]
    return whole.model_copy(update={"memories": memories})


def test_a_forced_kernel_is_taken_and_said() -> None:
    plan = memory.plan(tiny_graph(), boards.load("nucleo-h743"), force={"conv1": "conv2d_t2_u8"})
    choice = next(c for c in plan.choices if c.layer == "conv1")
    assert (choice.kernel, choice.why) == ("conv2d_t2_u8", "forced")
    assert choice.costs["conv2d_t2_u8"]["instructions"] > 0


def test_a_kernel_can_be_forced_on_every_layer_that_accepts_it() -> None:
    net, target = resnet8_graph(), boards.load("nucleo-h743")
    force = {"*": "conv2d_tl_u8", "conv1": "conv2d_t2_u8"}
    found = {step.name: step.kernel for step in memory.plan(net, target, force=force).steps}
    convolutions = {s.name for s in memory.plan(net, target).steps if s.op == "conv2d"}
    assert found.pop("conv1") == "conv2d_t2_u8"
    assert {found[name] for name in convolutions - {"conv1"}} == {"conv2d_tl_u8"}
    with pytest.raises(GraphError, match="no layer accepts a kernel 'conv2d_x'"):
        memory.plan(net, target, force={"*": "conv2d_x"})


@pytest.mark.parametrize(
    ("layer", "kernel", "error", "said"),
    [
        ("conv", "conv2d_t2_u8", GraphError, "no layer 'conv'"),
        ("conv1", "conv2d_t2", GraphError, "did you mean 'conv2d_t2_u8'"),
        ("conv1", "dense_t2_u8", BudgetError, "it computes dense, the layer is conv2d"),
    ],
)
def test_a_force_that_cannot_be_names_the_choices(
    layer: str, kernel: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        memory.plan(tiny_graph(), boards.load("nucleo-h743"), force={layer: kernel})
    assert said in str(caught.value)
    assert "conv" in str(caught.value)
