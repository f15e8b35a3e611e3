"""Each rule of the verifier, broken once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.graphs import Builder, random_graph
from tinyrobust.errors import GraphError
from tinyrobust.graph import Graph, Node, Reshape, Tensor

Change = Callable[[Graph], Graph]


def _sound() -> Graph:
    """One node of every kind: input, two convolutions, residual, pools, reshape, dense."""
    b = Builder(5, (8, 6, 3))
    b.conv(4)
    first = b.requantize()
    acc = b.conv(4)
    b.requantize(acc, first)
    b.pool("max")
    b.pool("average", 2, 1)
    b.depthwise(2)
    b.requantize()
    b.average()
    b.dense(5)
    b.requantize()
    b.nodes.append(Reshape("reshape", (b.x.name,), "reshaped"))
    b.tensors.append(replace(b.x, name="reshaped"))
    b.x = b.tensors[-1]
    b.dense(3)
    b.requantize(scores=True)
    return b.graph("sound")


def _nth(graph: Graph, op: str, n: int) -> Node:
    return [node for node in graph.nodes if node.op == op][n]


def node(op: str, n: int = 0, **values: Any) -> Change:
    """Change fields of the ``n``-th node of kind ``op``; a callable gets the old value."""

    def change(graph: Graph) -> Graph:
        old = _nth(graph, op, n)
        new = {k: v(getattr(old, k)) if callable(v) else v for k, v in values.items()}
        changed = replace(old, **new)
        return replace(graph, nodes=tuple(changed if x is old else x for x in graph.nodes))

    return change


def output(op: str, n: int = 0, **values: Any) -> Change:
    """Change fields of the tensor that the ``n``-th node of kind ``op`` makes."""

    def change(graph: Graph) -> Graph:
        old = graph.tensor[_nth(graph, op, n).output]
        new = {k: v(getattr(old, k)) if callable(v) else v for k, v in values.items()}
        changed = replace(old, **new)
        return replace(graph, tensors=tuple(changed if t is old else t for t in graph.tensors))

    return change


def nodes(change: Callable[[tuple[Node, ...]], tuple[Node, ...]]) -> Change:
    return lambda graph: replace(graph, nodes=change(graph.nodes))


def whole(**values: Any) -> Change:
    return lambda graph: replace(graph, **values)


def _as(dtype: Any) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: array.astype(dtype)


def _two(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed.flat[0] = 2
    return changed


def _huge(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed[..., 2] = 2**31 - 1
    return changed


RULES: dict[str, tuple[Change, str]] = {
    "family": (whole(family="float"), "unknown arithmetic family 'float'"),
    "one node": (nodes(lambda n: n[:1]), "fewer than two nodes"),
    "graph name": (whole(name="a b"), "bad name 'a b'"),
    "task name": (whole(task='"); system("x'), "bad name"),
    "node name": (node("dense", name="x\n"), "bad name"),
    "label": (whole(labels=("a", "", "c")), "bad label"),
    "label count": (whole(labels=("a", "b")), "2 labels and 3 scores"),
    "tensor twice": (
        lambda g: replace(g, tensors=(*g.tensors, g.tensors[0])), "two tensors of one name"),
    "node twice": (node("pool2d", 1, name="input"), "two nodes of one name"),
    "tensor rank": (output("conv2d", shape=(8, 24)), "need (H, W, C) or (C,)"),
    "tensor empty": (output("conv2d", shape=(8, 6, 0)), "need (H, W, C) or (C,)"),
    "tensor huge": (output("input", shape=(2**32, 2**32, 3)), "need (H, W, C) or (C,)"),
    "tensor range": (output("dense", 1, hi=2**31), "not within int32"),
    "tensor empty range": (output("dense", 1, lo=9, hi=8), "not within int32"),
    "tensor scale": (output("dense", 1, frac_bits=65), "not within int32"),
    "no input": (nodes(lambda n: n[1:]), "an Input must be first"),
    "second input": (
        nodes(lambda n: (*n[:1], replace(n[0], name="input2"), *n[1:])),
        "a classifier has one Input"),
    "order": (nodes(lambda n: (n[0], n[2], n[1], *n[3:])), "before it is made"),
    "unknown tensor": (node("dense", inputs=("nowhere",)), "before it is made"),
    "unknown output": (node("dense", output="nowhere"), "output 'nowhere' is not a tensor"),
    "made twice": (node("dense", 1, output="q"), "makes tensor 'q' a second time"),
    "nobody makes": (
        lambda g: replace(g, tensors=(*g.tensors, Tensor("spare", (1,), 0, 1, 0))),
        "nobody makes ['spare']"),
    "last node": (nodes(lambda n: n[:-1]), "nobody makes"),
    "no scores": (
        node("requantize", 4, scores=False, shift=16, lo=0, hi=1), "must be a Requantize that"),
    "input inputs": (node("input", inputs=("q",)), "before it is made"),
    "input shift": (node("input", shift=8), "bad shift"),
    "input range": (output("input", hi=100), "can give 0..127"),
    "input rank": (output("input", shape=(144,)), "the input must be (H, W, C)"),
    "conv inputs": (node("conv2d", 1, inputs=("q", "q")), "has 2 inputs, needs 1"),
    "conv rank": (node("conv2d", weights=lambda w: w[0]), "int8 trits of rank 4"),
    "conv type": (node("conv2d", weights=_as(np.int16)), "int8 trits of rank 4"),
    "conv trits": (node("conv2d", weights=_two), "int8 trits of rank 4"),
    "conv empty": (node("conv2d", weights=lambda w: w[:0]), "int8 trits of rank 4"),
    "conv depth": (node("conv2d", weights=lambda w: w[..., :2]), "weights take 2 channels"),
    "conv strides": (node("conv2d", strides=(1, 0)), "bad strides"),
    "conv pads": (node("conv2d", pads=(-1, 1, 1, 1)), "bad pads"),
    "conv pads wide": (node("conv2d", pads=(3, 1, 1, 1)), "pads reach the kernel's size"),
    "conv shape": (node("conv2d", pads=(0, 0, 1, 1)), "its inputs make (6, 6, 4)"),
    "conv range": (output("conv2d", hi=lambda hi: hi - 1), "can give"),
    "dense rank": (node("dense", inputs=("q",)), "needs rank 1"),
    "dense trits": (node("dense", weights=_two), "int8 trits of rank 2"),
    "dense inputs": (node("dense", weights=lambda w: w[:, 1:]), "weights take 3 inputs"),
    "dense shape": (node("dense", weights=lambda w: w[1:]), "its inputs make (4,)"),
    "dense range": (output("dense", lo=lambda lo: lo + 1), "can give"),
    "three branches": (
        node("requantize", 1, inputs=lambda i: (*i, i[0])), "has 3 branches, needs one or two"),
    "branch shape": (node("requantize", 1, inputs=lambda i: (i[0], "q")), "differ in shape"),
    "requantize shape": (output("requantize", shape=(8, 6, 5)), "its inputs make (8, 6, 4)"),
    "multipliers type": (node("requantize", multipliers=_as(np.int64)), "multipliers must be"),
    "multipliers order": (node("requantize", multipliers=_as(">i4")), "multipliers must be"),
    "multipliers shape": (
        node("requantize", 1, multipliers=lambda m: m[:1]), "multipliers must be int32 (2, 4)"),
    "bias shape": (node("requantize", bias=lambda b: b[1:]), "bias int32 (4,)"),
    "shift": (node("requantize", shift=17), "shift 17 is not in 0..16"),
    "bias overflow": (node("requantize", bias=_huge), "channel 2: a partial sum reaches"),
    "clamp": (node("requantize", hi=256), "clamp 0..256 is not in u8"),
    "clamp order": (node("requantize", lo=9, hi=8), "clamp 9..8 is not in u8"),
    "clamp range": (output("requantize", hi=126), "can give 0..127"),
    "score shift": (node("requantize", 4, shift=1), "scores have shift 0"),
    "score range": (output("requantize", 4, hi=lambda hi: hi // 2), "can give"),
    "pool kind": (node("pool2d", kind="median"), "unknown kind 'median'"),
    "pool size": (node("pool2d", size=(2, 0)), "bad size"),
    "pool strides": (node("pool2d", strides=(0, 2)), "bad strides"),
    "pool shape": (node("pool2d", size=(3, 3)), "its inputs make (3, 2, 4)"),
    "pool range": (output("pool2d", hi=126), "can give 0..127"),
    "depthwise rank": (
        node("depthwise_conv2d", weights=lambda w: w[0]), "int8 trits of rank 3"),
    "depthwise channels": (
        node("depthwise_conv2d", weights=lambda w: w[1:]), "weights take 3 channels"),
    "depthwise pads": (node("depthwise_conv2d", pads=(2, 0, 0, 0)), "pads reach"),
    "pool rounding": (node("pool2d", 1, rounding=1), "bad rounding"),
    "pool half even": (node("pool2d", 1, half_even=True), "bad half_even"),
    "max rounding": (node("pool2d", rounding=2), "bad rounding"),
    "average rounding": (node("global_average_pool", rounding=7), "bad rounding"),
    "average half even": (
        node("global_average_pool", rounding=0, half_even=True), "bad half_even"
    ),
    "average shape": (output("global_average_pool", shape=(3,)), "its inputs make (4,)"),
    "average range": (output("global_average_pool", hi=126), "can give 0..127"),
    "reshape size": (output("reshape", shape=(6,)), "changes the number of elements"),
    "reshape range": (output("reshape", hi=126), "can give 0..127"),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_is_named(rule: str) -> None:
    graph = _sound()
    change, message = RULES[rule]
    with pytest.raises(GraphError) as caught:
        change(graph)
    assert message in caught.value.message
    assert caught.value.exit_code == 1


def test_a_branch_that_leaves_int32_names_its_channel() -> None:
    b = Builder(0, (24, 24, 3), zeros=0.0)
    b.flatten()
    b.dense(4)  # 1,728 trits of inputs up to 127: sums beyond 2**16
    b.requantize(scores=True)
    graph = b.graph("wide")
    bias = np.array([0, 0, 0, 0], np.int32)
    message = r"channel 2: a partial sum reaches -?[\d,]+, outside int32"
    with pytest.raises(GraphError, match=message):
        node("requantize", multipliers=_huge, bias=bias)(graph)


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_are_sound(seed: int) -> None:
    graph = random_graph(seed)
    assert replace(graph).sha256 == graph.sha256


def test_the_hash_covers_every_weight_scale_and_name() -> None:
    graph = _sound()
    hashes = {graph.sha256}
    for change in (
        node("conv2d", weights=lambda w: np.where(w == 1, 0, w).astype(np.int8)),
        node("requantize", bias=lambda b: b + np.int32(1)),
        node("requantize", multipliers=lambda m: m - np.sign(m)),
        node("requantize", shift=9),
        whole(name="other"),
        whole(labels=("x", "y", "z")),
        whole(made_from="ab"),
    ):
        hashes.add(change(graph).sha256)
    assert len(hashes) == 8
