"""What the portable int8 kernels do on a layer (``firmware/runtime/int8_*.hpp``).

``weights``: how many there are, of ``weight_bits``; ``scales``: multipliers, 1 when the channels
share one; ``left_channels``: those whose sums are shifted to the left. ``taps_inside``,
``rows_inside``: taps and kernel rows that lie in the input, over all output pixels (convolutions
and pools); ``ahead``: how many bytes the output of one of these must start before the source to lie
over it. ``loops0``, ``loops1``: rounds of the two outer loops over the output (elementwise, copies,
mean); ``inner1``, ``inner2``: those of the mean's sums, over all outputs; ``unit``: 1 when the
innermost loop takes every operand's elements one after the other; ``left``: 1 when the result is
shifted to the left. Of copies: ``word_moves``, ``byte_moves``; ``word_runs``, ``byte_runs``: the
runs that have some of these, ``long_runs`` those whose words the compiler takes two by two,
``long_odd`` of them with one left over; ``scattered``: elements of those that do not lie one after
the other; ``filled``: elements that a pad sets; ``parts``: inputs of a concatenation; ``runs``: its
copies, or those of a resize. ``constant``: bytes of a constant operand. ``known``: exponentials in
a softmax's table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyrobust.graph import int8
from tinyrobust.graph.base import aligned
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import loops
from tinyrobust.kernels.layers import Layer

NAMES = frozenset({
    "weights", "weight_bits", "scales", "left_channels", "taps_inside", "rows_inside", "ahead",
    "loops0", "loops1",
    "inner1", "inner2", "unit", "left", "word_moves", "byte_moves", "word_runs", "byte_runs",
    "long_runs", "long_odd", "scattered", "filled", "parts", "runs", "constant", "known",
})  # fmt: skip

_LONG = 32  # bytes


def counts(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> dict[str, float]:
    """A value for each of NAMES, 0 where the layer has no such thing."""
    node: Any = layer.node
    sources = [graph.tensor[t].shape for t in node.inputs]
    out = graph.tensor[node.output].shape
    found = dict.fromkeys(NAMES, 0.0)
    if isinstance(node, int8.Weighted):
        shared = bool(np.all(node.multipliers == node.multipliers[0])
                      and np.all(node.shifts == node.shifts[0]))  # fmt: skip
        found |= {"weights": node.weights.size, "weight_bits": node.weight_bits,
                  "scales": 1 if shared else node.bias.size,
                  "left_channels": int(np.count_nonzero(node.shifts > 0))}  # fmt: skip
    match node:
        case int8.Conv2DInt8() | int8.DepthwiseConv2DInt8() | int8.AveragePool2DInt8():
            found |= _windows(node, sources[0], out)
        case int8.Binary():
            walk = loops.binary(node, sources, out)
            found |= _outer(walk) | {
                "constant": node.constant.size, "unit": _unit(walk),
                "left": int(getattr(node, "shift", 0) > 0),
            }  # fmt: skip
        case int8.PadInt8() | int8.StridedSliceInt8():
            copy = loops.copy(node, sources[0], out)
            *rows, length = copy.loops.size
            moves = _moves(math.prod(rows), length) if _unit(copy.loops) else {
                "scattered": math.prod(copy.loops.size)}  # fmt: skip
            found |= _outer(copy.loops) | moves | {"filled": copy.fill}
        case int8.MeanInt8():
            outer, inner = loops.mean(node, sources[0])
            n = math.prod(outer.size)
            found |= _outer(outer) | {
                "inner1": n * inner.size[0] * inner.size[1], "inner2": n * math.prod(inner.size),
                "unit": _unit(inner), "left": int(node.shift > 0),
            }  # fmt: skip
        case int8.ConcatInt8():
            times = math.prod(aligned(out)[: node.axis])
            parts = [_moves(times, math.prod(aligned(s)[node.axis :])) for s in sources]
            found |= {name: sum(p[name] for p in parts) for name in parts[0]}
            found |= {"parts": len(sources), "runs": len(sources) * times}
        case int8.ResizeNearestInt8():
            runs = len(node.rows) * len(node.columns)
            found |= _moves(runs, aligned(out)[2]) | {"runs": runs}
        case int8.RearrangeInt8():
            outside, length = node.sizes[:-1], node.sizes[-1]
            runs = math.prod(outside)
            if node.steps[-1] == 1:
                found |= _moves(runs, length)
            else:
                found["scattered"] = runs * length
            carries = [math.prod(outside[:i]) for i in range(1, len(outside))]
            found |= {"runs": runs, "loops1": sum(carries)}
        case int8.SoftmaxInt8():
            found["known"] = int(np.flatnonzero(node.exponentials)[-1]) + 1
    return found


def _outer(walk: loops.Loops) -> dict[str, float]:
    return {"loops0": walk.size[0], "loops1": walk.size[0] * walk.size[1]}


def _unit(walk: loops.Loops) -> int:
    return int(all(steps[-1] == 1 for steps in walk.steps))


def _moves(runs: int, length: int) -> dict[str, float]:
    """Of so many copies of ``length`` bytes."""
    return {
        "word_moves": runs * (length // 4), "byte_moves": runs * (length % 4),
        "word_runs": runs * (length >= 4), "byte_runs": runs * (length % 4 > 0),
        "long_runs": runs * (length >= _LONG),
        "long_odd": runs * (length >= _LONG) * (length // 4 % 2),
    }  # fmt: skip


def _windows(node: Any, source: loops.Shape, out: loops.Shape) -> dict[str, float]:
    kernel = getattr(node, "size", None) or (
        node.weights.shape[:2] if isinstance(node, int8.DepthwiseConv2DInt8)
        else node.weights.shape[1:3]
    )  # fmt: skip
    dilations = getattr(node, "dilations", (1, 1))
    inside = [
        _inside(aligned(source)[i], aligned(out)[i], kernel[i], node.strides[i], dilations[i],
                node.pads[2 * i])
        for i in (0, 1)
    ]  # fmt: skip
    return {
        "taps_inside": inside[0] * inside[1], "rows_inside": inside[0] * aligned(out)[1],
        "ahead": _ahead(aligned(source), aligned(out), node.strides, node.pads),
    }  # fmt: skip


def _ahead(
    source: loops.Shape, out: loops.Shape, strides: tuple[int, int], pads: tuple[int, ...]
) -> int:
    """The largest lead of what is written over what is still to be read, in bytes, where pixels
    are computed in order and a window is read until the last channel of its pixel is written."""
    rows, columns = (
        np.clip(np.arange(out[i]) * strides[i] - pads[2 * i], 0, source[i]) for i in (0, 1)
    )
    first = (rows[:, None] * source[1] + columns).ravel() * source[2]  # byte of every window
    unread = np.minimum.accumulate(first[::-1])[::-1]
    return int(np.max(np.arange(1, first.size + 1) * out[2] - unread))


def _inside(length: int, outputs: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    """Taps within an axis, over all output positions along it."""
    at = np.arange(outputs)[:, None] * stride - before + np.arange(kernel) * dilation
    return int(np.count_nonzero((at >= 0) & (at < length)))
