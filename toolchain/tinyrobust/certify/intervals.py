"""Interval bounds of every tensor of a Graph, rounding included.

In: a Graph and boxes of uint8 images: least and largest value of every pixel. Out: by tensor the
least and largest integers that it can hold for any image of the box. S. Gowal et al., "On the
Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models", 2018,
arXiv:1810.12715; here on the deployed integers themselves, so that no rounding, of the network or
of this computation, is outside the proof.

Every operation is taken for one of four kinds, each with its interval by the very function that
defines it (``graph/interpreter.py``):

* rising in every input (requantisation by factors of at least 0, pools, means, minimum, maximum,
  what only moves values): its ends at the inputs' ends;
* sums of weights: of each weight's own end; the products and sums are exact as the interpreter's;
* falling in one input (SUB's second, a requantisation by a negative factor): that one's ends
  exchanged;
* a product or a table: over all corners, or all codes between the ends.

Where a scale takes a sum out of int32, as that of a saturated channel may, the reference wraps:
any code is possible there then.

An operation that is none of these is refused, by name.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import TinyRobustError
from tinyrobust.graph import int8, interpreter, interpreter_int8
from tinyrobust.graph.base import INT8, INT32
from tinyrobust.graph.interpreter import check_images
from tinyrobust.graph.nodes import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    Node,
    Pool2D,
    Requantize,
    Reshape,
)

Array = npt.NDArray[Any]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Bounds:
    """Least and largest value of a tensor, (N, *shape)."""

    low: Array
    high: Array

    @property
    def width(self) -> float:
        """Mean difference of the ends."""
        return float((self.high.astype(np.int64) - self.low).mean())


def bounds(graph: Graph, low: UInt8, high: UInt8) -> dict[str, Bounds]:
    """Bounds by tensor for all images between ``low`` and ``high``, uint8 (N, H, W, C) each.

    Raises GraphError for images of another shape, TinyRobustError when an operation has no bounds
    here, ValueError where ``low`` is above ``high``.
    """
    check_images(graph, low)
    check_images(graph, high)
    if (low > high).any():
        raise ValueError("low is above high")
    check_known(graph)
    found: dict[str, Bounds] = {}
    for node in graph.nodes:
        inputs = [found[name] for name in node.inputs] or [Bounds(low, high)]
        found[node.output] = _RULES[type(node)](graph, node, inputs)
    return found


def check_known(graph: Graph) -> None:
    """Raise TinyRobustError naming every operation that has no bounds here."""
    unknown = sorted({node.op for node in graph.nodes if type(node) not in _RULES})
    if unknown:
        raise TinyRobustError(
            f"no certificate for '{graph.name}': {', '.join(unknown)} has no interval bounds",
            "attack it: `tinyrobust evaluate`; a network that ends in SOFTMAX has the same classes "
            "without it",
        )


def _do(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    """The interpreter's own result."""
    return interpreter.OPS[node.op](graph, node, inputs)


def _rising(graph: Graph, node: Node, inputs: list[Bounds]) -> Bounds:
    return Bounds(
        _do(graph, node, [x.low for x in inputs]), _do(graph, node, [x.high for x in inputs])
    )


def _falling_second(graph: Graph, node: Any, inputs: list[Bounds]) -> Bounds:
    """SUB: rising in the first operand, falling in the second; a constant is either."""
    turned = [False, True]
    if node.constant.size:
        turned = [node.constant_first]
    low = [x.high if t else x.low for x, t in zip(inputs, turned, strict=True)]
    high = [x.low if t else x.high for x, t in zip(inputs, turned, strict=True)]
    return Bounds(_do(graph, node, low), _do(graph, node, high))


def _ternary_sum(graph: Graph, node: Any, inputs: list[Bounds]) -> Bounds:
    """Weights of +1 take the input's own end, those of -1 the other one."""
    plus = dataclasses.replace(node, weights=np.maximum(node.weights, 0))
    minus = dataclasses.replace(node, weights=np.minimum(node.weights, 0))
    (x,) = inputs
    return Bounds(
        _do(graph, plus, [x.low]) + _do(graph, minus, [x.high]),
        _do(graph, plus, [x.high]) + _do(graph, minus, [x.low]),
    )


def _requantize(graph: Graph, node: Requantize, inputs: list[Bounds]) -> Bounds:
    """Each channel of each branch rises or falls with the sign of its multiplier."""

    def end(mine: str, other: str) -> Array:
        chosen = [
            np.where(m >= 0, getattr(x, mine), getattr(x, other))
            for m, x in zip(node.multipliers, inputs, strict=True)
        ]
        return _do(graph, node, chosen)

    return Bounds(end("low", "high"), end("high", "low"))


def _weighted(graph: Graph, node: Any, inputs: list[Bounds]) -> Bounds:
    """int8: the sums of each weight's end, then bias, scale and clamp, which rise."""
    (x,) = inputs
    plus, minus = np.maximum(node.weights, 0), np.minimum(node.weights, 0)

    totals = [
        (_sums(node, plus, mine) + _sums(node, minus, other)).astype(np.int64) + node.bias
        for mine, other in ((x.low, x.high), (x.high, x.low))
    ]
    wraps = _wraps(totals, node.shifts.astype(np.int64))
    ends = []
    for total, anything in zip(totals, (node.lo, node.hi), strict=True):
        value = interpreter_int8.multiply(total, node.multipliers, node.shifts)
        clamped = np.clip(value + node.output_zero, node.lo, node.hi)
        clamped = np.where(wraps, anything, clamped).astype(np.int8)
        ends.append(clamped.reshape(len(x.low), *graph.tensor[node.output].shape))
    return Bounds(*ends)


def _sums(node: Any, weights: Array, x: Array) -> Array:
    """The node's sums (N, ..., OC) of ``x`` less its zero point with other weights."""
    return interpreter_int8.sums(dataclasses.replace(node, weights=weights), x)


def _wraps(totals: list[Array], shift: Any) -> Array:
    """Where a sum between the least and the largest of ``totals``, shifted to the left, leaves
    int32: the reference wraps there, and any code may come out."""
    left = [total << np.maximum(shift, 0) for total in totals]
    return np.asarray((np.minimum.reduce(left) < INT32[0]) | (np.maximum.reduce(left) > INT32[1]))


def _mean(graph: Graph, node: int8.MeanInt8, inputs: list[Bounds]) -> Bounds:
    """The sum and its scale rise, unless the scale takes it out of int32."""
    (x,) = inputs
    made = _rising(graph, node, inputs)
    totals = [interpreter_int8.mean_sums(node, end) for end in (x.low, x.high)]
    wraps = _wraps(totals, np.int64(node.shift)).reshape(made.low.shape)
    return Bounds(
        np.where(wraps, INT8[0], made.low).astype(np.int8),
        np.where(wraps, INT8[1], made.high).astype(np.int8),
    )


def _product(graph: Graph, node: int8.MulInt8, inputs: list[Bounds]) -> Bounds:
    """The product's ends lie at corners; what follows rises, unless it leaves int32."""
    corners = [list(corner) for corner in itertools.product(*((x.low, x.high) for x in inputs))]
    values = [_do(graph, node, corner) for corner in corners]
    products = [interpreter_int8.product(node, corner) for corner in corners]
    wraps = _wraps(products, np.int64(node.shift)).reshape(values[0].shape)
    return Bounds(
        np.where(wraps, node.lo, np.minimum.reduce(values)).astype(np.int8),
        np.where(wraps, node.hi, np.maximum.reduce(values)).astype(np.int8),
    )


def _table(graph: Graph, node: int8.LookupInt8, inputs: list[Bounds]) -> Bounds:
    """Least and largest entry between two codes, for every pair of codes."""
    (x,) = inputs
    size = len(node.table)
    least = np.full((size, size), 127, np.int8)
    most = np.full((size, size), -128, np.int8)
    for first in range(size):
        least[first, first:] = np.minimum.accumulate(node.table[first:])
        most[first, first:] = np.maximum.accumulate(node.table[first:])
    low, high = x.low.astype(np.int16) + 128, x.high.astype(np.int16) + 128
    shape = (len(low), *graph.tensor[node.output].shape)
    return Bounds(least[low, high].reshape(shape), most[low, high].reshape(shape))


_RISING = (
    Input, GlobalAveragePool, Pool2D, Reshape, int8.InputInt8, int8.ScoresInt8,
    int8.AveragePool2DInt8, int8.MaxPool2DInt8, int8.AddInt8, int8.MinimumInt8,
    int8.MaximumInt8, int8.PadInt8, int8.ConcatInt8, int8.StridedSliceInt8, int8.ResizeNearestInt8,
    int8.ResizeBilinearInt8, int8.RearrangeInt8,
)  # fmt: skip
_RULES: Mapping[type[Node], Callable[[Graph, Any, list[Bounds]], Bounds]] = {
    **dict.fromkeys(_RISING, _rising),
    **dict.fromkeys((Conv2D, DepthwiseConv2D, Dense), _ternary_sum),
    **dict.fromkeys((int8.Conv2DInt8, int8.DepthwiseConv2DInt8, int8.DenseInt8), _weighted),
    Requantize: _requantize,
    int8.SubInt8: _falling_second,
    int8.MeanInt8: _mean,
    int8.MulInt8: _product,
    int8.LookupInt8: _table,
}
