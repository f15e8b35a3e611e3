"""The variables of a layer that formulas in kernel.yaml may use.

In: a layer and its Graph. Out: named numbers; ``schema.VARIABLES`` lists the names.
"""

from __future__ import annotations

import numpy as np

from tinyrobust.graph.nodes import Conv2D, Dense, Graph, Pool2D
from tinyrobust.kernels.layers import Layer, narrow, storage


def variables(layer: Layer, graph: Graph) -> dict[str, float]:
    """Every variable of ``layer``.

    ``taps``: weights of one output channel; ``nonzero``: weights that are not zero;
    ``edge_pixels``: output pixels whose window crosses the left or right edge; ``wide``: 1 when
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
        "taps": 1, "nonzero": 0, "edge_pixels": 0, "average": 0, "wide": 0,
        "residual": int(bool(layer.operand)), "raw": int(layer.finish == "raw"),
        "scores": int(layer.finish == "scores"),
        "operand_wide": int(bool(layer.operand) and storage(graph)[layer.operand] == "i32"),
    }  # fmt: skip
    if isinstance(node, (Conv2D, Dense)):
        found["taps"] = node.weights[0].size
        found["nonzero"] = int(np.count_nonzero(node.weights))
        found["wide"] = int(not narrow(graph, node))
    if isinstance(node, Conv2D):
        found["kernel_h"], found["kernel_w"] = node.weights.shape[1:3]
        found["edge_pixels"] = out_h * _edge_columns(node, in_w, out_w)
    if isinstance(node, Pool2D):
        found["kernel_h"], found["kernel_w"] = node.size
        found["average"] = int(node.kind == "average")
    if isinstance(node, (Conv2D, Pool2D)):
        found["stride_y"], found["stride_x"] = node.strides
    return found


def _hwc(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return (1, 1, shape[0]) if len(shape) == 1 else (shape[0], shape[1], shape[2])


def _edge_columns(node: Conv2D, in_w: int, out_w: int) -> int:
    left = np.arange(out_w) * node.strides[1] - node.pads[2]
    return int(np.count_nonzero((left < 0) | (left + node.weights.shape[2] > in_w)))
