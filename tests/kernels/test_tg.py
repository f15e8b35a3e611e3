"""Code generated into RAM: the integers, the code's own length and run, and what is kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import Builder, resnet8_graph
from tests.kernels.arm import Device
from tests.kernels.host import planned
from tinyrobust.graph import interpreter
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import candidates, layers, tg
from tinyrobust.kernels.counts import tg as counts
from tinyrobust.kernels.settle import settled

BOARDS = ("nucleo-h743", "mps2-an386")
CORES = {"nucleo-h743": "cortex-m7", "mps2-an386": "cortex-m4"}


def forced(graph: Graph, core: str, setting: str = "") -> dict[str, str]:
    """The kernel for every layer that it accepts."""
    accepted = (la.name for la in layers(graph)
                if any(k.id == "conv2d_tg_u8" for k in candidates(la, graph, core)))  # fmt: skip
    return dict.fromkeys(accepted, f"conv2d_tg_u8{setting}")


def check(device: Device, graph: Graph, seed: int = 0, times: int = 1) -> list[list[int]]:
    """Every step against the interpreter; instructions of every step, each time."""
    found = []
    for n in range(times):
        image = np.random.default_rng(seed + n).integers(0, 256, graph.input.shape, np.uint8)
        expected = interpreter.trace(graph, image[None])
        got, counted = device.run(image)
        for name, value in got.items():
            np.testing.assert_array_equal(
                value, expected[name.partition("@")[0]][0], err_msg=f"{graph.name} {name}"
            )
        found.append(counted)
    return found


def shapes(seed: int) -> Graph:
    """Convolutions of every size, stride, padding and sparsity, with and without residuals."""
    rng = np.random.default_rng([11, seed])
    b = Builder(seed, (int(rng.integers(4, 14)), int(rng.integers(3, 18)), int(rng.integers(1, 6))))
    for _ in range(5):
        b.zeros = float(rng.choice([0.0, 0.2, 0.5, 0.9, 0.99]))
        bits, shift = int(rng.choice([1, 4, 7])), int(rng.choice([0, 3, 9, 15, 16]))
        height, width, channels = b.x.shape
        if rng.random() < 0.3:
            source = b.x
            b.requantize(b.conv(channels), source, bits=bits, shift=shift)
            continue
        size = int(rng.integers(1, 6)), int(rng.integers(1, 6))
        same = size[0] > height or size[1] > width or bool(rng.random() < 0.7)
        stride = int(rng.choice([1, 2, 3])) if min(height, width) > 3 else 1
        source, wanted = b.x, int(rng.integers(1, 14))
        if rng.random() < 0.3:
            first = b.conv(wanted, 3, stride)
            b.requantize(first, b.conv(wanted, 1, stride, source=source), bits=bits, shift=shift)
            continue
        b.conv(wanted, size, stride, same=same)
        b.requantize(bits=bits, shift=shift)
    b.average()
    b.dense(3)
    b.requantize(scores=True)
    return b.graph(f"shapes{seed}")


SETTINGS = (":split=576,keep=0", ":split=144,keep=0", ":split=144,keep=1", ":split=576,keep=1")


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(n, marks=pytest.mark.slow)
                                          for n in range(2, 24))])  # fmt: skip
def test_all_shapes_equal_the_interpreter(seed: int, tmp_path: Path) -> None:
    graph, board = shapes(seed), BOARDS[seed % 2]
    plan = planned(graph, board, forced(graph, CORES[board], SETTINGS[seed // 2 % 4]))
    assert any(step.kernel == "conv2d_tg_u8" for step in plan.steps)
    check(Device(plan, tmp_path), graph, seed, times=2)


@pytest.mark.parametrize("setting", SETTINGS[:3])
def test_the_mirror_knows_what_runs(setting: str, tmp_path: Path) -> None:
    graph = resnet8_graph(3, size=16)
    plan = planned(graph, "nucleo-h743", forced(graph, "cortex-m7", setting))
    device = Device(plan, tmp_path)
    check(device, graph)
    expected = sum(
        counts.counts(layer, graph, step.variant)["run"]
        for layer, step in zip(plan.layers, plan.steps, strict=True)
        if step.kernel == "conv2d_tg_u8"
    )
    assert device.ram_count == expected


def test_the_mirror_knows_how_long_the_code_is(tmp_path: Path) -> None:
    graph = resnet8_graph(3, size=16)
    plan = planned(graph, "nucleo-h743", forced(graph, "cortex-m7", ":split=288,keep=1"))
    device = Device(plan, tmp_path)
    check(device, graph)
    base = next(v for s, v in device.symbols.items() if "tr_code_ram" in s)
    for layer, step in zip(plan.layers, plan.steps, strict=True):
        if step.kernel != "conv2d_tg_u8":
            continue
        shape = graph.tensor[layer.source].shape, graph.tensor[layer.output].shape
        geometry = tg.Geometry.of(layer.node, *shape, step.variant["split"])
        node = settled(layer, graph)
        in_place = bool(layer.operand) and (
            plan.place(layer.operand, "planar4").offset == plan.places[layer.output].offset
        )
        table = np.frombuffer(
            bytes(device.uc.mem_read(base + step.kept_code_offset, step.kept_code_bytes)), "<u4"
        )
        pieces = list(
            tg.units(
                layer.node, geometry, counts.finish_kind(layer, graph),
                scaled=node is not None and node.shift == 16, in_place=in_place, shared=True,
            )
        )  # fmt: skip
        assert table[0] == 1
        at, known = 2 + 2 * len(pieces), set()
        for i, (finish, unit, _) in enumerate(pieces):
            at += finish.words if finish.same not in known else 0
            known.add(finish.same)
            assert table[2 + 2 * i] == at
            at += unit.words
        assert 4 * at <= step.kept_code_bytes


def test_kept_code_is_made_once(tmp_path: Path) -> None:
    graph = resnet8_graph(1, size=16)
    plan = planned(graph, "nucleo-h743", forced(graph, "cortex-m7", ":split=576,keep=1"))
    first, second, third = check(Device(plan, tmp_path), graph, times=3)
    assert abs(sum(second) - sum(third)) < 20  # ties of the pool
    assert sum(second) < 0.8 * sum(first)


def test_resnet8_within_its_aims(tmp_path: Path) -> None:
    graph = resnet8_graph(1)
    plan = planned(graph, "nucleo-h743", forced(graph, "cortex-m7", ":keep=0"))
    (counted,) = check(Device(plan, tmp_path, ("-O3",)), graph)
    assert sum(counted) <= 3_500_000
    assert plan.arena_bytes + plan.executable_bytes <= 64 << 10
    assert sum(s.flash_weights + s.flash_tables for s in plan.steps) <= 24 << 10
    assert plan.flash_bytes <= 36 << 10


@pytest.mark.parametrize("shift", [0, 1, 7, 15, 16])
def test_settled_constants_give_the_same_integers(shift: int) -> None:
    b = Builder(shift, (5, 5, 3))
    b.conv(6)
    b.requantize(bits=3, shift=shift)
    b.average()
    b.dense(3)
    b.requantize(scores=True)
    graph = b.graph("settled")
    layer = next(la for la in layers(graph) if la.op == "conv2d")
    node = settled(layer, graph)
    assert node is not None and node.shift == 16
    nodes = tuple(node if n.name == node.name else n for n in graph.nodes)
    other = dataclasses.replace(graph, nodes=nodes)
    images = np.random.default_rng(shift).integers(0, 256, (50, 5, 5, 3), np.uint8)
    expected, found = interpreter.trace(graph, images), interpreter.trace(other, images)
    np.testing.assert_array_equal(found[node.output], expected[node.output])
