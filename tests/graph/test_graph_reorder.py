"""Reordering of channels: the same scores, whatever the Graph; never a higher cost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.graphs import Builder, random_graph, resnet8_graph
from tinyrobust.bench.random_network import random_network
from tinyrobust.graph.interpreter import run, trace
from tinyrobust.graph.nodes import Graph
from tinyrobust.graph.reorder import BLOCK, reorder, shared_cost


def images(graph: Graph, count: int = 4) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (count, *graph.input.shape), np.uint8)


def check(graph: Graph) -> None:
    found = reorder(graph)
    assert found.after <= found.before
    x = images(graph)
    assert (run(found.graph, x) == run(graph, x)).all()
    before, after = trace(graph, x), trace(found.graph, x)
    changed = 0
    for name, values in before.items():
        undone = found.undo(name, after[name])
        if graph.tensor[name].shape != found.graph.tensor[name].shape or name not in found.orders:
            continue
        changed += 1
        assert (undone == values).all(), name
        assert sorted(found.orders[name]) == list(range(values.shape[-1]))
    assert changed == len(found.orders)
    assert graph.input.name not in found.orders and graph.output.name not in found.orders
    if not found.orders:
        assert found.graph is graph and found.after == found.before


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_keep_their_scores(seed: int) -> None:
    check(random_graph(seed))


@pytest.mark.slow
def test_channels_of_a_residual_share_their_order() -> None:
    graph = resnet8_graph(seed=4, zeros=0.7, size=8)
    check(graph)
    orders = reorder(graph).orders
    for node in graph.nodes:
        if node.op in ("requantize", "global_average_pool") and node.output in orders:
            for name in node.inputs:
                assert (orders[name] == orders[node.output]).all()
    assert len(orders) == 17


def test_a_flattened_tensor_takes_its_channels_along() -> None:
    b = Builder(7, (6, 6, 3), zeros=0.6)
    b.conv(8, stride=2)
    b.requantize()
    b.flatten()
    b.dense(5)
    b.requantize(scores=True)
    graph = b.graph("flat")
    assert reorder(graph).orders
    check(graph)


def test_the_cost_is_that_of_the_patterns() -> None:
    block = np.array([[1, -1, 0, 0], [1, -1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], np.int8)
    # inputs 0 and 1: one class of two inputs; input 2: none; input 3: another class
    assert shared_cost(block) == 3 + 1.5 * 2
    assert shared_cost(-block) == shared_cost(block)
    assert shared_cost(np.zeros((4, 9), np.int8)) == 0


def test_it_finds_the_pairs_that_were_hidden() -> None:
    """Channels that come in equal groups of four are found again after a shuffle."""
    rng = np.random.default_rng(0)
    rows = rng.integers(-1, 2, (4, 3, 3, 3)).astype(np.int8)
    weights = np.repeat(rows, BLOCK, axis=0) * rng.choice([-1, 1], (16, 1, 1, 1)).astype(np.int8)
    shuffle = rng.permutation(16)
    b = Builder(0, (6, 6, 3))
    random, b.trits = b.trits, lambda *shape: np.ascontiguousarray(weights[shuffle])
    b.conv(16)
    b.trits = random
    b.requantize()
    b.conv(4)
    b.requantize()
    b.flatten()
    b.dense(3)
    b.requantize(scores=True)
    graph = b.graph("groups")
    order = reorder(graph).orders[graph.nodes[1].output]
    groups = shuffle[order].reshape(-1, BLOCK) // BLOCK
    assert all(len(set(group)) == 1 for group in groups)
    assert len({group[0] for group in groups}) == 4


def test_exchanges_are_no_worse_than_every_grouping_of_eight_channels() -> None:
    b = Builder(1, (6, 6, 2), zeros=0.7)
    b.conv(8)
    b.requantize()
    b.flatten()
    b.dense(3)
    b.requantize(scores=True)
    graph = b.graph("eight")
    conv = graph.nodes[1]
    weights = conv.arrays["weights"].reshape(8, -1)
    pixels = graph.macs(conv) / weights.size
    best = min(
        shared_cost(weights[[0, *three]])
        + shared_cost(weights[[c for c in range(1, 8) if c not in three]])
        for three in itertools.combinations(range(1, 8), 3)
    )
    assert reorder(graph).after <= 1.02 * pixels * best


def test_int8_networks_stay_as_they_are() -> None:
    graph = random_network("ds-cnn-int8")
    found = reorder(graph)
    assert found.graph is graph and not found.orders
