"""The int8 operators' C++ on this machine: every tensor equal to the interpreter's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.int8_graphs import Int8Builder, random_int8_graph
from tests.kernels.host import Compiled, forces, planned, ready, write_sources
from tests.kernels.test_host import MAIN, check, some_slow
from tinyrobust.errors import GraphError
from tinyrobust.graph import int8, interpreter
from tinyrobust.graph.nodes import FAMILIES, Graph
from tinyrobust.image.host import HostModel, host_library
from tinyrobust.kernels import catalogue
from tinyrobust.kernels.layers import ELEMENT_BYTES


def graph_of(seed: int) -> tuple[Graph, dict[str, str]]:
    """A random Graph, and the kernels that this seed forces on it."""
    graph = random_int8_graph(seed)
    choices = forces(graph, "host")
    return graph, choices[seed % len(choices)]


@pytest.mark.parametrize("seed", some_slow(list(range(40)), 2))
def test_every_operation_equals_the_interpreter(seed: int, tmp_path: Path) -> None:
    graph, force = graph_of(seed)
    check(Compiled(planned(graph, force=force), tmp_path), graph, seed=seed)


def test_one_graph_has_every_operation() -> None:
    graphs = [random_int8_graph(seed) for seed in range(4)]
    edges = {"input_raw", "state", "assign"}  # networks of their own have these
    assert {n.op for g in graphs for n in g.nodes} == set(FAMILIES["tflite"]) - edges


@pytest.mark.parametrize("seed", some_slow([3, 5, 6], 0))
def test_sanitizers_find_nothing(seed: int, tmp_path: Path) -> None:
    graph, force = graph_of(seed)
    sources, includes = write_sources(planned(graph, force=force), tmp_path)
    (tmp_path / "main.cpp").write_text(MAIN)
    flags = ["-std=c++17", "-O1", "-g", "-fsanitize=address,undefined",
             "-fno-sanitize-recover=all", *includes]  # fmt: skip
    program = tmp_path / "model"
    subprocess.run(
        ["g++", *flags, *ready("g++", flags, sources), str(tmp_path / "main.cpp"), "-o",
         str(program)],
        check=True, capture_output=True,
    )  # fmt: skip
    images = np.random.default_rng(seed).integers(0, 256, (4, *graph.input.shape), np.uint8)
    images[0], images[1] = 255, 0
    (tmp_path / "in").write_bytes(images.tobytes())
    done = subprocess.run(
        [str(program), str(tmp_path / "in"), str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    scores = np.fromfile(tmp_path / "out", np.int32).reshape(4, -1)
    np.testing.assert_array_equal(scores, interpreter.run(graph, images))


def test_steps_write_their_output_and_scratch_only(tmp_path: Path) -> None:
    graph, force = graph_of(7)
    compiled = Compiled(planned(graph, force=force), tmp_path)
    image = np.random.default_rng(7).integers(0, 256, graph.input.shape, np.uint8)
    arenas = compiled.snapshots(image)
    for step, before, after in zip(compiled.plan.steps, arenas, arenas[1:], strict=False):
        place = compiled.plan.places[step.output]
        allowed = np.zeros(len(before), bool)
        allowed[place.offset : place.offset + place.count * ELEMENT_BYTES[place.type]] = True
        allowed[step.scratch_offset : step.scratch_offset + step.scratch_bytes] = True
        changed = np.flatnonzero((before != after) & ~allowed)
        assert changed.size == 0, f"{step.name} wrote at {changed[:8]}"


def test_outputs_lie_over_dead_inputs_of_their_size_only(tmp_path: Path) -> None:
    """The addition of two tensors may take the place of either, but never of one that it spreads
    over the output."""
    b = Int8Builder(1, (6, 5, 4))
    whole = b.lookup(b.x)
    column = b.mean(whole)
    while column.shape != (4,):
        b.nodes.pop(), b.tensors.pop()
        column = b.mean(whole)
    fields = {"multipliers": (1 << 30, 1 << 30, 1 << 30), "shifts": (0, 0, -18)}
    b.add(int8.AddInt8, (whole, column), whole.shape, **fields)
    b.lookup(b.x)
    b.softmax(b.x)
    b.scores()
    graph = b.graph("in-place")
    plan = planned(graph)
    place = plan.places
    added = next(n for n in graph.nodes if n.op == "add_int8")
    assert place[added.output].offset == place[whole.name].offset
    assert place[added.output].offset != place[column.name].offset
    assert len({place[n.output].offset for n in graph.nodes[-4:-1]}) == 1
    check(Compiled(plan, tmp_path), graph)


@pytest.mark.parametrize("seed", range(3))
def test_outputs_lie_over_sources_as_far_as_windows_allow(seed: int, tmp_path: Path) -> None:
    """Convolutions, pools and slices one after the other, nothing else alive."""
    b = Int8Builder(seed, (14, 11, 5), reach=5)
    for make in (b.pool, b.conv, b.depthwise, b.slice, b.pool, b.conv) * 2:
        if min(b.x.shape) > 0:
            make(b.x)
    b.scores()
    graph = b.graph("overlaps")
    force = {n.name: name for n in graph.nodes
             if (name := f"{n.op.removesuffix('_int8')}_i8_i8") in catalogue()}  # fmt: skip
    plan = planned(graph, force=force)
    apart = sum(-(-max(p.count, 1) // 8) * 8 for p in plan.places.values())
    assert plan.arena_bytes < apart
    check(Compiled(plan, tmp_path), graph)


def test_long_even_rows_of_a_softmax(tmp_path: Path) -> None:
    """Sums of 2**28 and more, where the reference's last shift passes 31."""
    b = Int8Builder(2, (1, 1, 4000))
    table = np.floor(np.exp(-0.05 * np.arange(256)) * (1 << 31)).clip(0, (1 << 31) - 1)
    parts = []
    for length, spread in ((511, 0), (512, 0), (700, 1), (1500, 3), (4000, 5)):
        part = b.add(int8.StridedSliceInt8, (b.tensors[0],), (length,))
        lookup = (np.arange(256) % (spread + 1) + 100).astype(np.int8)
        b.add(int8.LookupInt8, (part,), part.shape, table=lookup)
        parts.append(b.add(int8.SoftmaxInt8, (b.x,), part.shape,
                           exponentials=table.astype(np.int32)))  # fmt: skip
    b.scores()
    graph = b.graph("softmax")
    compiled = Compiled(planned(graph), tmp_path)
    check(compiled, graph)
    image = np.random.default_rng(0).integers(0, 256, graph.input.shape, np.uint8)
    got = compiled.trace(image)
    assert set(got[parts[0].name].tolist()) == {-127}  # 1/511, rounded
    assert set(got[parts[1].name].tolist()) == {127}  # as TensorFlow 2.15.1 gives


def test_the_host_library_gives_the_same(tmp_path: Path) -> None:
    graph = random_int8_graph(9, operations=16)
    model = HostModel(host_library(graph, tmp_path))
    images = np.random.default_rng(9).integers(0, 256, (5, *graph.input.shape), np.uint8)
    np.testing.assert_array_equal(model.predict(images), interpreter.run(graph, images))
    expected = interpreter.trace(graph, images)
    for name, value in model.trace(images[2]).items():
        np.testing.assert_array_equal(value, expected[name][2], err_msg=name)


def test_axes_beyond_what_a_struct_holds_are_named() -> None:
    b = Int8Builder(3, (1, 70000, 1))
    b.add(int8.MaxPool2DInt8, (b.x,), (1, 35000, 1), size=(1, 2), strides=(1, 2))
    b.add(int8.StridedSliceInt8, (b.x,), (1, 4, 1))
    b.scores()
    with pytest.raises(GraphError, match="65535"):
        planned(b.graph("long"))
