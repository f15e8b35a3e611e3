"""The numpy interpreter against the nodes' docstrings, written out again as plain Python loops."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest

from tests.graphs import Builder, random_graph, resnet8_graph, separable_graph, tiny_graph
from tinyrobust.errors import GraphError
from tinyrobust.graph import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    Pool2D,
    Requantize,
    Reshape,
    run,
    trace,
)


def loops(graph: Graph, image: np.ndarray) -> dict[str, list[Any]]:
    """Every tensor of one image as a flat list of Python integers, without numpy's arithmetic."""
    values: dict[str, list[int]] = {}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        shapes = [graph.tensor[name].shape for name in node.inputs]
        out = graph.tensor[node.output]
        if isinstance(node, Input):
            values[node.output] = [int(x) // 2**node.shift for x in image.ravel()]
        elif isinstance(node, Reshape):
            values[node.output] = inputs[0]
        elif isinstance(node, Conv2D):
            values[node.output] = _conv(node, inputs[0], shapes[0], out.shape)
        elif isinstance(node, DepthwiseConv2D):
            values[node.output] = _depthwise(node, inputs[0], shapes[0], out.shape)
        elif isinstance(node, Dense):
            values[node.output] = [
                sum(int(w) * q for w, q in zip(row, inputs[0], strict=True)) for row in node.weights
            ]
        elif isinstance(node, Requantize):
            values[node.output] = _requantize(node, inputs, out.shape[-1])
        else:
            values[node.output] = _pool(node, inputs[0], shapes[0], out.shape)
    return values


def _conv(node: Conv2D, q: list[int], shape: Any, out: Any) -> list[int]:
    height, width, depth = shape
    weights, (top, _, left, _) = node.weights.tolist(), node.pads
    acc = []
    for y in range(out[0]):
        for x in range(out[1]):
            for kernel in weights:
                total = 0
                for i, row in enumerate(kernel):
                    for j, column in enumerate(row):
                        yy = y * node.strides[0] - top + i
                        xx = x * node.strides[1] - left + j
                        if 0 <= yy < height and 0 <= xx < width:
                            at = (yy * width + xx) * depth
                            total += sum(w * q[at + c] for c, w in enumerate(column))
                acc.append(total)
    return acc


def _depthwise(node: DepthwiseConv2D, q: list[int], shape: Any, out: Any) -> list[int]:
    height, width, depth = shape
    weights, (top, _, left, _) = node.weights.tolist(), node.pads
    acc = []
    for y in range(out[0]):
        for x in range(out[1]):
            for c, kernel in enumerate(weights):
                total = 0
                for i, row in enumerate(kernel):
                    for j, w in enumerate(row):
                        a, b = y * node.strides[0] - top + i, x * node.strides[1] - left + j
                        if 0 <= a < height and 0 <= b < width:
                            total += w * q[(a * width + b) * depth + c]
                acc.append(total)
    return acc


def _requantize(node: Requantize, inputs: list[list[int]], channels: int) -> list[int]:
    result = []
    for position in range(len(inputs[0])):
        c = position % channels
        t = int(node.bias[c])
        for m, acc in zip(node.multipliers, inputs, strict=True):
            t += (int(m[c]) * acc[position]) // 65536  # Python floors
        half = 2 ** (node.shift - 1) if node.shift else 0
        if not node.scores:
            t = min(max((t + half) // 2**node.shift, node.lo), node.hi)
        result.append(t)
    return result


def _pool(node: Any, q: list[int], shape: Any, out: Any) -> list[int]:
    height, width, depth = shape
    if isinstance(node, GlobalAveragePool):
        means = [Fraction(sum(q[c::depth]), height * width) for c in range(depth)]
        if node.half_even:
            return [round(mean) for mean in means]  # Python rounds halves to even
        return [floor(mean + Fraction(node.rounding, height * width)) for mean in means]
    assert isinstance(node, Pool2D)
    result = []
    for y in range(out[0]):
        for x in range(out[1]):
            for c in range(depth):
                window = [
                    q[((y * node.strides[0] + i) * width + x * node.strides[1] + j) * depth + c]
                    for i in range(node.size[0])
                    for j in range(node.size[1])
                ]
                mean = Fraction(sum(window), len(window))
                if node.kind == "max":
                    result.append(max(window))
                elif node.half_even:
                    result.append(round(mean))
                else:
                    result.append(floor(mean + Fraction(node.rounding, len(window))))
    return result


def _images(graph: Graph, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *graph.input.shape), np.uint8)


@pytest.mark.parametrize("seed", range(30))
def test_equals_plain_loops_on_every_tensor(seed: int) -> None:
    graph = random_graph(seed) if seed < 24 else separable_graph(seed)
    images = _images(graph, 2, seed)
    images[1] = 255 * (images[1] > 128)  # extremes reach the clamps
    tensors = trace(graph, images)
    assert set(tensors) == set(graph.tensor)
    for n, image in enumerate(images):
        expected = loops(graph, image)
        for name, value in tensors.items():
            assert value.dtype == np.int32
            assert value[n].shape == graph.tensor[name].shape
            assert value[n].ravel().tolist() == expected[name], (name, n)


@pytest.mark.parametrize("seed", range(12))
def test_every_integer_lies_in_its_tensors_proved_range(seed: int) -> None:
    graph = random_graph(seed)
    extremes = np.stack([np.zeros(graph.input.shape), np.full(graph.input.shape, 255)])
    images = np.concatenate([_images(graph, 6, seed), extremes.astype(np.uint8)])
    for name, value in trace(graph, images).items():
        tensor = graph.tensor[name]
        assert tensor.lo <= value.min() and value.max() <= tensor.hi


def test_a_scale_that_is_negative_floors_towards_minus_infinity() -> None:
    b = Builder(0, (1, 1, 1))
    acc = b.conv(1, 1)
    weights = np.ones((1, 1, 1, 1), np.int8)
    b.nodes[-1] = Conv2D("conv", ("q",), acc.name, weights)
    b.tensors[-1] = type(acc)(acc.name, acc.shape, 0, 127, 7)
    b.x = b.tensors[-1]
    b.flatten()
    b.requantize(scores=True)
    score = Requantize(
        "score", ("flat",), b.x.name, np.array([[-1]], np.int32), np.array([0], np.int32), 0,
        scores=True,
    )  # fmt: skip
    graph = Graph("floor", "t", ("a",), tuple(b.tensors), (*b.nodes[:-1], score))
    # -1/65536 of anything above zero floors to -1, not to 0.
    images = np.array([0, 2, 254], np.uint8).reshape(3, 1, 1, 1)
    assert run(graph, images).ravel().tolist() == [0, -1, -1]


def test_both_branches_of_a_residual_may_be_one_tensor() -> None:
    b = Builder(3, (4, 4, 2))
    acc = b.conv(3)
    b.requantize(acc, acc)
    b.average()
    b.dense(3)
    b.requantize(scores=True)
    graph = b.graph("twice")
    images = _images(graph, 3)
    assert run(graph, images).tolist() == trace(graph, images)[graph.output.name].tolist()


def test_batches_do_not_change_the_scores() -> None:
    graph = tiny_graph()
    images = _images(graph, 7)
    whole = run(graph, images)
    assert whole.shape == (7, 4) and whole.dtype == np.int32
    assert np.array_equal(whole, run(graph, images, batch=3))
    assert np.array_equal(whole, np.concatenate([run(graph, x[None]) for x in images]))


def test_no_images_give_no_scores() -> None:
    graph = tiny_graph()
    none = _images(graph, 0)
    assert run(graph, none).shape == (0, 4)
    assert all(len(value) == 0 for value in trace(graph, none).values())


def test_images_of_another_shape_or_type_are_refused() -> None:
    graph = tiny_graph()
    with pytest.raises(GraphError, match=r"takes uint8 images \(N, 8, 8, 3\), got uint8"):
        run(graph, np.zeros((1, 8, 9, 3), np.uint8))
    with pytest.raises(GraphError, match="got int32"):
        trace(graph, np.zeros((1, 8, 8, 3), np.int32))  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="got uint8"):
        run(graph, np.zeros((8, 8, 3), np.uint8))


def test_resnet8_has_the_published_macs() -> None:
    graph = resnet8_graph()
    assert sum(graph.macs(node) for node in graph.nodes) == 12_501_632
