"""Reordering of channels: the same function with neighbours that a kernel can share work between.

In: a Graph of family ``fixed``, a cost of a block of output channels. Out: a Graph whose scores are
the same integers for every image, and the order of the channels of every tensor.

Channels that meet must keep one order: the branches of a Requantize and its output, the input and
the output of a pool. Such tensors share a *space*. The input image and the scores keep theirs. A
kernel that takes K output channels together costs what the patterns of their weights ask for; the
search groups the channels of every space so that the sum over its convolutions is small: as they
are, sorted by zeros, or grown block by block, each improved by exchanges of two channels between
blocks while any helps; the best of the three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Node,
    Pool2D,
    Requantize,
    Reshape,
)

BLOCK = 4  # output channels that a class-sharing kernel takes together
SEED = 5
_ROUNDS = 40  # passes over all pairs of blocks; far fewer are needed
Trits = npt.NDArray[np.int8]
Order = npt.NDArray[np.int64]  # position -> channel before
Cost = Callable[[Trits], float]


@dataclass(frozen=True)
class Reordered:
    """``graph`` computes what the Graph before did; ``orders`` maps the tensors that changed to
    the earlier channel at each position; ``before`` and ``after`` are costs in all."""

    graph: Graph
    orders: Mapping[str, Order]
    before: float
    after: float

    def undo(self, tensor: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """``values`` (..., C) of a tensor of ``graph`` in the order that they had before."""
        order = self.orders.get(tensor)
        return values if order is None else values[..., np.argsort(order)]


def shared_cost(trits: Trits) -> float:
    """Additions of class sharing for one pixel: ``trits`` (channels, inputs) of one block.

    An input whose channels are not all zero is added once to the sum of its class, the pattern
    up to its sign; each class that occurs is then spread to the channels in which it is not zero.
    """
    codes = trits[0].astype(np.int16)
    for row in trits[1:]:
        codes = 3 * codes + row
    counts = np.bincount(np.abs(codes))
    return len(codes) - int(counts[0]) + _SPREAD * int(np.count_nonzero(counts[1:]))


_SPREAD = 1.5  # of one class, in additions of one input


def reorder(graph: Graph, cost: Cost = shared_cost, *, block: int = BLOCK) -> Reordered:
    """The Graph with its channels in an order that costs no more; the same one when none helps."""
    spaces = _Spaces(graph)
    orders: dict[str, Order] = {}
    before = after = 0.0
    for space, tensors in spaces.free().items():
        made = [n for n in graph.nodes if type(n) is Conv2D and n.output in tensors]
        if not made:
            continue
        trits = [n.weights.reshape(len(n.weights), -1) for n in made]
        pixels = [graph.macs(n) / n.weights.size for n in made]
        search = _Search(trits, pixels, cost, block)
        order = search.run()
        before += search.start
        after += search.best
        if search.best < search.start:
            orders |= dict.fromkeys(spaces.members(space), order)
    if not orders:
        return Reordered(graph, {}, before, after)
    return Reordered(apply(graph, orders), orders, before, after)


class _Spaces:
    """Which tensors keep one order of channels: a union of sets."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._parent = {t.name: t.name for t in graph.tensors}
        self._fixed = {graph.input.name, graph.output.name}
        for node in graph.nodes:
            self._meet(node)

    def _meet(self, node: Node) -> None:
        if type(node) in (Conv2D, Dense) or not node.inputs:
            return
        if isinstance(node, DepthwiseConv2D | Requantize | Pool2D | GlobalAveragePool):
            for name in node.inputs:
                self._join(name, node.output)
            return
        source, out = self._graph.tensor[node.inputs[0]], self._graph.tensor[node.output]
        if isinstance(node, Reshape) and source.shape[-1] == out.shape[-1]:
            self._join(source.name, out.name)
            return
        flat = isinstance(node, Reshape) and len(out.shape) == 1
        if not flat or not all(isinstance(n, Dense) for n in self._graph.consumers(out.name)):
            self._fixed |= {*node.inputs, node.output}

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def _join(self, first: str, second: str) -> None:
        self._parent[self._root(first)] = self._root(second)

    def members(self, space: str) -> list[str]:
        """The tensors of the space."""
        return [name for name in self._parent if self._root(name) == space]

    def free(self) -> dict[str, set[str]]:
        """Spaces whose order may change, and their tensors."""
        fixed = {self._root(name) for name in self._fixed}
        found: dict[str, set[str]] = {}
        for name in self._parent:
            if self._root(name) not in fixed:
                found.setdefault(self._root(name), set()).add(name)
        return found


class _Search:
    """Blocks of channels of the convolutions that share one space; ``pixels`` weighs each."""

    def __init__(
        self, trits: Sequence[Trits], pixels: Sequence[float], cost: Cost, block: int
    ) -> None:
        self._trits, self._pixels, self._cost, self._block = trits, pixels, cost, block
        count = len(trits[0])
        self._edges = range(0, count, block)
        self.start = self._total(np.arange(count))
        self.best = self.start

    def _of(self, channels: Sequence[int]) -> float:
        rows = list(channels)
        return sum(
            pixels * self._cost(trits[rows])
            for trits, pixels in zip(self._trits, self._pixels, strict=True)
        )

    def _total(self, order: Order) -> float:
        return sum(self._of(order[i : i + self._block].tolist()) for i in self._edges)

    def run(self) -> Order:
        """The best order found; what was there when nothing is better."""
        zeros = sum(
            pixels * (trits == 0).sum(axis=1)
            for trits, pixels in zip(self._trits, self._pixels, strict=True)
        )
        fewest_last = np.argsort(-np.asarray(zeros), kind="stable")
        best = np.arange(len(self._trits[0]))
        for order in (best, fewest_last, self._grown(fewest_last)):
            found = self._descend(order)
            total = self._total(found)
            if total < self.best:
                self.best, best = total, found
        return best

    def _grown(self, channels: Order) -> Order:
        """Block by block: the first channel that is left, then whichever adds least."""
        left = channels.tolist()
        order: list[int] = []
        while left:
            group = [left.pop(0)]
            while left and len(group) < self._block:
                group.append(min(left, key=lambda c: self._of([*group, c])))
                left.remove(group[-1])
            order += group
        return np.array(order)

    def _descend(self, order: Order) -> Order:
        """Exchange channels of two blocks while that helps, first come first served."""
        rng = np.random.default_rng(SEED)
        blocks = [order[i : i + self._block].tolist() for i in self._edges]
        costs = [self._of(block) for block in blocks]
        changes = [0] * len(blocks)
        tried: dict[tuple[int, int], tuple[int, int]] = {}  # pair -> its blocks' changes then
        pairs = [(a, b) for a in range(len(blocks)) for b in range(a)]
        for _ in range(_ROUNDS):
            improved = False
            for i in rng.permutation(len(pairs)):
                a, b = pair = pairs[i]
                if tried.get(pair) == (changes[a], changes[b]):
                    continue
                found = self._exchange(blocks[a], blocks[b], (costs[a], costs[b]))
                if found != (costs[a], costs[b]):
                    (costs[a], costs[b]), improved = found, True
                    changes[a] += 1
                    changes[b] += 1
                else:
                    tried[pair] = changes[a], changes[b]
            if not improved:
                break
        return np.array([channel for block in blocks for channel in block])

    def _exchange(
        self, a: list[int], b: list[int], now: tuple[float, float]
    ) -> tuple[float, float]:
        """Exchange what helps between two blocks, in place; their costs then."""
        for i in range(len(a)):
            for j in range(len(b)):
                a[i], b[j] = b[j], a[i]
                found = self._of(a), self._of(b)
                if sum(found) < sum(now):
                    now = found
                else:
                    a[i], b[j] = b[j], a[i]
        return now


def inverse(orders: Mapping[str, Order]) -> dict[str, Order]:
    """The orders that lead back."""
    return {name: np.argsort(order) for name, order in orders.items()}


def apply(graph: Graph, orders: Mapping[str, Order]) -> Graph:
    """The Graph with the channels of each tensor in ``orders`` (as ``Reordered.orders``)."""
    return replace(graph, nodes=tuple(_permuted(graph, node, orders) for node in graph.nodes))


def _permuted(graph: Graph, node: Node, orders: Mapping[str, Order]) -> Node:
    out = orders.get(node.output)
    if type(node) is Conv2D or type(node) is Dense:
        weights = node.weights if out is None else node.weights[out]
        taken = _input_order(graph, node.inputs[0], orders)
        weights = weights if taken is None else weights[..., taken]
        return replace(node, weights=np.ascontiguousarray(weights))
    if isinstance(node, DepthwiseConv2D) and out is not None:
        return replace(node, weights=np.ascontiguousarray(node.weights[out]))
    if isinstance(node, Requantize) and out is not None:
        return replace(
            node, multipliers=np.ascontiguousarray(node.multipliers[:, out]), bias=node.bias[out]
        )
    return node


def _input_order(graph: Graph, tensor: str, orders: Mapping[str, Order]) -> Order | None:
    """The order of the last axis of ``tensor``: its own, or a flattened tensor's."""
    if tensor in orders:
        return orders[tensor]
    if tensor == graph.input.name:
        return None
    node = graph.producer(tensor)
    if not isinstance(node, Reshape) or node.inputs[0] not in orders:
        return None
    order = orders[node.inputs[0]]
    places = np.arange(graph.tensor[tensor].size).reshape(-1, len(order))
    return places[:, order].reshape(-1)
