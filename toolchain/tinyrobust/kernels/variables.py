"""The variables of a layer that formulas in kernel.yaml may use.

In: a layer and its Graph. Out: named numbers; ``schema.VARIABLES`` lists the names.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import Conv2D, Dense, Graph, Pool2D
from tinyrobust.kernels import expression
from tinyrobust.kernels.layers import Layer, narrow, storage


def variables(layer: Layer, graph: Graph) -> dict[str, float]:
    """Every variable of ``layer``.

    ``taps``: weights of one output channel; ``nonzero``: weights that are not zero;
    ``sign_pairs``: pairs of equal nonzero weights, per output channel and rounded up;
    ``shared_pairs``: the same where two neighbouring channels share (``shared_lists`` packing);
    ``edge_pixels``: output pixels whose window crosses the left or right edge, ``border_pixels``:
    any edge; ``wide``: 1 when
    accumulators need int32; ``input_max``: largest value of the source; the flags ``residual``,
    ``raw``, ``scores``, ``operand_wide``, ``average`` are 1 or 0.
    """
    node = layer.node
    source = graph.tensor[layer.source or layer.output]
    out = graph.tensor[layer.output]
    in_h, in_w, in_c = _hwc(source.shape)
    out_h, out_w, out_c = _hwc(out.shape)
    found: dict[str, float] = {
        "in_h": in_h, "in_w": in_w, "in_c": in_c, "inputs": source.size,
        "out_h": out_h, "out_w": out_w, "out_c": out_c, "outputs": out.size,
        "pixels": out_h * out_w, "macs": graph.macs(node), "input_max": source.hi,
        "kernel_h": 1, "kernel_w": 1, "stride_y": 1, "stride_x": 1,
        "taps": 1, "nonzero": 0, "sign_pairs": 0, "shared_pairs": 0,
        "edge_pixels": 0, "border_pixels": 0, "average": 0, "wide": 0,
        "residual": int(bool(layer.operand)), "raw": int(layer.finish == "raw"),
        "scores": int(layer.finish == "scores"),
        "operand_wide": int(bool(layer.operand) and storage(graph)[layer.operand] == "i32"),
    }  # fmt: skip
    if isinstance(node, (Conv2D, Dense)):
        found["taps"] = node.weights[0].size
        found["nonzero"] = int(np.count_nonzero(node.weights))
        flat = node.weights.reshape(len(node.weights), -1)
        found["sign_pairs"] = _pairs(flat)
        found["shared_pairs"] = _shared_pairs(flat)
        found["wide"] = int(not narrow(graph, node))
    if isinstance(node, Conv2D):
        found["kernel_h"], found["kernel_w"] = node.weights.shape[1:3]
        columns = _crossing(in_w, out_w, node.weights.shape[2], node.strides[1], node.pads[2])
        rows = _crossing(in_h, out_h, node.weights.shape[1], node.strides[0], node.pads[0])
        found["edge_pixels"] = out_h * columns
        found["border_pixels"] = out_h * out_w - (out_h - rows) * (out_w - columns)
    if isinstance(node, Pool2D):
        found["kernel_h"], found["kernel_w"] = node.size
        found["average"] = int(node.kind == "average")
    if isinstance(node, (Conv2D, Pool2D)):
        found["stride_y"], found["stride_x"] = node.strides
    return found


def known_names(let: Mapping[str, str], layer: Layer, graph: Graph) -> dict[str, float]:
    """What a kernel's formulas may name: the layer's variables and the kernel's ``let``."""
    known = variables(layer, graph)
    return known | {name: expression.evaluate(text, known) for name, text in let.items()}


def _pairs(rows: npt.NDArray[np.int8]) -> int:
    """Pairs of -1 and pairs of +1 in every row of trits, rounded up."""
    return sum(int(((np.count_nonzero(rows == s, axis=1) + 1) // 2).sum()) for s in (-1, 1))


def _shared_pairs(rows: npt.NDArray[np.int8]) -> int:
    """``_pairs`` after two neighbouring rows became four: equal, opposite, first, second only."""
    even = len(rows) // 2 * 2
    first, second = rows[0:even:2], rows[1:even:2]
    both = first * second
    classes = (np.where(both > 0, first, 0), np.where(both < 0, first, 0),
               np.where(second == 0, first, 0), np.where(first == 0, second, 0))  # fmt: skip
    return sum(_pairs(part) for part in (*classes, rows[even:]))


def _hwc(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return (1, 1, shape[0]) if len(shape) == 1 else (shape[0], shape[1], shape[2])


def _crossing(size: int, outputs: int, kernel: int, stride: int, before: int) -> int:
    """How many of the windows along one axis cross its ends."""
    first = np.arange(outputs) * stride - before
    return int(np.count_nonzero((first < 0) | (first + kernel > size)))
