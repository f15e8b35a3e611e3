"""The differentiable twin: equal to the interpreter on integers, right in its gradients."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.graphs import Builder, random_graph, resnet8_graph, separable_graph, tiny_graph
from tests.patience import PATIENCE_S
from tinyrobust.errors import GraphError
from tinyrobust.graph import Graph, interpreter
from tinyrobust.graph.nodes import Input, Requantize
from tinyrobust.twin.fixed import Twin


def images(graph: Graph, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *graph.input.shape), dtype=np.uint8)


def alive_graph(seed: int) -> Graph:
    """A graph whose activations are neither all 0 nor all saturated, so gradients flow."""
    b = Builder(seed, (9, 8, 3), zeros=0.3)
    b.conv(6)
    first = b.requantize(shift=9)
    b.conv(6, stride=2)
    b.requantize(shift=10)
    second = b.conv(6)
    b.requantize(second, b.conv(6, 1, 2, source=first), shift=8)
    b.pool("average" if seed % 2 else "max", 2, 1)
    b.depthwise(2)
    b.requantize(shift=7)
    b.average()
    b.dense(5)
    b.requantize(scores=True)
    return b.graph("alive")


@pytest.mark.parametrize("seed", range(40))
def test_scores_equal_the_interpreter_on_every_integer(seed: int) -> None:
    graph = random_graph(seed) if seed < 32 else separable_graph(seed)
    x = images(graph, 7, seed)
    np.testing.assert_array_equal(Twin(graph).scores(x), interpreter.run(graph, x))


def test_scores_equal_the_interpreter_on_a_resnet() -> None:
    graph = resnet8_graph(3)
    x = images(graph, 3)
    scores = Twin(graph).scores(x)
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(scores, interpreter.run(graph, x))


def test_extreme_images() -> None:
    graph = random_graph(5)
    x = np.stack([np.zeros(graph.input.shape), np.full(graph.input.shape, 255)]).astype(np.uint8)
    np.testing.assert_array_equal(Twin(graph).scores(x), interpreter.run(graph, x))


def test_more_images_than_one_batch_and_none() -> None:
    graph = tiny_graph()
    x = images(graph, 70)
    np.testing.assert_array_equal(Twin(graph).scores(x), interpreter.run(graph, x))
    assert Twin(graph).scores(x[:0]).shape == (0, 4)
    assert Twin(graph).gradient(x[:0], np.zeros((0, 4))).shape == x[:0].shape


@pytest.mark.parametrize("seed", range(6))
def test_gradient_of_the_smooth_surrogate_is_its_numerical_difference(seed: int) -> None:
    graph = alive_graph(seed)
    twin = Twin(graph, smooth=True)
    rng = np.random.default_rng(seed)
    x = rng.uniform(1, 254, (2, *graph.input.shape))
    weights = rng.normal(size=(2, graph.output.size))
    gradient = twin.gradient(x, weights)
    assert np.abs(gradient).max() > 0
    step, checked = 1e-5, 0
    for _ in range(60):
        direction = rng.normal(size=x.shape)
        ahead, here, behind = (
            (twin.scores(x + k * step * direction) * weights).sum() for k in (1, 0, -1)
        )
        slopes = (ahead - here) / step, (here - behind) / step
        if abs(slopes[0] - slopes[1]) > 1e-3 * abs(slopes[0] + slopes[1]):
            continue  # a corner of a clamp or a maximum lies between
        checked += 1
        assert (gradient * direction).sum() == pytest.approx(sum(slopes) / 2, rel=1e-3)
    assert checked >= 20


@pytest.mark.parametrize("seed", range(4))
def test_straight_through_gradient_follows_the_stated_rules(seed: int) -> None:
    """Written out by dense matrices: the product of every step's stated derivative."""
    b = Builder(seed, (4, 4, 2), zeros=0.3)
    b.flatten()
    b.dense(12)
    b.requantize(shift=9)
    b.dense(3)
    b.requantize(scores=True)
    graph = b.graph("dense")
    _, _, first, scale, second, scores = graph.nodes
    assert isinstance(scale, Requantize) and isinstance(scores, Requantize)
    x = images(graph, 1, seed)
    acc = interpreter.trace(graph, x)[first.output][0].astype(np.int64)
    t = scale.bias + ((acc * scale.multipliers[0].astype(np.int64)) >> 16)
    passes = (t > 0) & (t < scale.hi << scale.shift)
    assert 0 < passes.sum() < passes.size
    back = first.arrays["weights"].T * (scale.multipliers[0] / 2**16 / 2**scale.shift * passes)
    back = back @ (second.arrays["weights"].T * (scores.multipliers[0] / 2**16))
    for k in range(3):
        found = Twin(graph).gradient(x, np.eye(3)[[k]])[0].ravel()
        np.testing.assert_allclose(found, 0.5 * back[:, k], rtol=1e-5, atol=1e-3)


def test_input_shift_halves_the_gradient() -> None:
    graph = tiny_graph()
    assert isinstance(graph.nodes[0], Input) and graph.nodes[0].shift == 1
    twin = Twin(graph)
    x = images(graph, 4).astype(np.float64)
    even = x - x % 2
    np.testing.assert_array_equal(twin.scores(even), twin.scores(even + 1))


def test_loss_is_the_cross_entropy_of_the_logits_and_falls_along_its_gradient() -> None:
    graph = alive_graph(1)
    twin, x = Twin(graph), images(graph, 8)
    labels = np.arange(8) % 5
    temperature = float(np.abs(twin.logits(x)).max())
    loss, gradient = twin.loss_and_gradient(x, labels, temperature)
    logits = twin.logits(x) / temperature
    wanted = np.log(np.exp(logits).sum(1)) - logits[np.arange(8), labels]
    np.testing.assert_allclose(loss, wanted, rtol=1e-9)
    d_scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(5)[labels]
    d_scores *= 2.0**-graph.output.frac_bits / temperature
    np.testing.assert_allclose(gradient, twin.gradient(x, d_scores), rtol=1e-4, atol=1e-12)
    moved = np.clip(x - 12 * np.sign(gradient), 0, 255)
    assert twin.loss_and_gradient(moved, labels, temperature)[0].mean() < loss.mean()


def test_wrong_shapes_are_named() -> None:
    twin = Twin(tiny_graph())
    with pytest.raises(GraphError, match=r"8, 8, 3.*\(1, 8, 8, 4\)"):
        twin.scores(np.zeros((1, 8, 8, 4)))
    with pytest.raises(GraphError, match="d_scores"):
        twin.gradient(np.zeros((1, 8, 8, 3)), np.zeros((1, 3)))
    with pytest.raises(GraphError, match="labels"):
        twin.loss_and_gradient(np.zeros((1, 8, 8, 3)), np.zeros(2))


def test_importing_the_twin_loads_nothing_heavy() -> None:
    code = (
        "import sys, tinyrobust.twin.fixed, tinyrobust.convert.oracle;"
        "print([m for m in ('tensorflow', 'keras', 'hls4ml', 'qkeras', 'art') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout.strip() == "[]"


def test_a_leak_shows_what_is_behind_a_shut_clamp() -> None:
    """Of a network whose every activation is saturated nothing passes, but what leaks does; through
    one clamp it is that part of what passes an open one."""
    b = Builder(3, (4, 4, 1), zeros=0.3)
    b.flatten()
    b.dense(6)
    b.requantize(shift=0)
    b.dense(3)
    b.requantize(scores=True)
    graph = b.graph("shut")
    first = next(n for n in graph.nodes if isinstance(n, Requantize))
    shut = replace(first, bias=np.full_like(first.bias, 1 << 20))
    graph = replace(graph, nodes=tuple(shut if n is first else n for n in graph.nodes))
    x, flow = images(graph, 2), np.ones((2, 3))
    assert not Twin(graph).gradient(x, flow).any()
    whole = Twin(graph, leak=1.0).gradient(x, flow)
    assert whole.any()
    np.testing.assert_allclose(Twin(graph, leak=0.25).gradient(x, flow), whole / 4, rtol=1e-5)
