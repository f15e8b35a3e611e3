"""The constant parameter struct of a layer, as ``firmware/runtime/layers.hpp`` declares it.

In: a layer and how its tensors are stored. Out: the struct's type and its initialiser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyrobust.graph.nodes import TERNARY, Conv2D, Dense, DepthwiseConv2D, Graph, Pool2D
from tinyrobust.kernels.layers import Layer, narrow
from tinyrobust.kernels.layouts import HWC, LayoutChange
from tinyrobust.kernels.settle import settled

_NULL = "nullptr"
_STRUCTS = {
    "input": "Input",
    "conv2d": "Conv2D",
    "depthwise_conv2d": "Conv2D",
    "dense": "Dense",
    "requantize": "RequantizeAlone",
    "pool2d": "Pool2D",
    "global_average_pool": "GlobalAveragePool",
    LayoutChange.op: "LayoutChange",
}


def struct(layer: Layer) -> str:
    """Name of the parameter struct."""
    return _STRUCTS[layer.op]


def tables(layer: Layer, graph: Graph) -> dict[str, np.ndarray[Any, np.dtype[np.int32]]]:
    """int32 per-channel tables of the layer by field name."""
    node = settled(layer, graph)
    if node is None:
        return {}
    found = {"bias": node.bias, "multiplier": node.multipliers[layer.branch]}
    if layer.operand:
        found["multiplier2"] = node.multipliers[1 - layer.branch]
    return found


def initialiser(
    layer: Layer, graph: Graph, types: Mapping[str, str], names: Mapping[str, str]
) -> list[Any]:
    """Values of the struct's members in order; ``names`` gives the arrays' C++ names."""
    node = layer.node
    source = graph.tensor[layer.source or layer.output]
    if isinstance(node, LayoutChange):
        to_planar = layer.output.rpartition("@")[2] != HWC
        return [*source.shape, _type(types[layer.source]), to_planar]
    out = graph.tensor[layer.output]
    weights = names.get("weights", _NULL)
    if isinstance(node, (Conv2D, DepthwiseConv2D)):
        (in_h, in_w, in_c), (out_h, out_w, _) = source.shape, out.shape
        kernel_h, kernel_w = node.weights.shape[1:3]
        return [
            weights, _requantize(layer, graph, types, names), in_h, in_w, in_c, out_h, out_w,
            kernel_h, kernel_w, *node.strides, node.pads[0], node.pads[2],
        ]  # fmt: skip
    if isinstance(node, Dense):
        return [weights, _requantize(layer, graph, types, names), source.size]
    if layer.op == "requantize":
        return [_requantize(layer, graph, types, names), out.size // out.shape[-1]]
    if isinstance(node, Pool2D):
        (in_h, in_w, in_c), (out_h, out_w, _) = source.shape, out.shape
        return [in_h, in_w, in_c, out_h, out_w, *node.size, *node.strides,
                f"tr::Pooling::{node.kind}", node.rounding, node.half_even]  # fmt: skip
    if layer.op == "global_average_pool":
        height, width, channels = source.shape
        return [height * width, node.scalars["rounding"], height, width,
                int(node.scalars["half_even"]), channels]  # fmt: skip
    return [out.size, *out.shape, node.scalars["shift"]]


def _requantize(
    layer: Layer, graph: Graph, types: Mapping[str, str], names: Mapping[str, str]
) -> list[Any]:
    node, fused = settled(layer, graph), isinstance(layer.node, TERNARY)
    out = graph.tensor[layer.output]
    if isinstance(layer.node, TERNARY):
        fits = narrow(graph, layer.node)
    else:
        fits = types[layer.source] != "i32"
    quantised = node is not None and not node.scores
    lo, hi = (node.lo, node.hi) if node is not None and quantised else (0, 0)
    saturate = quantised and lo == 0 and (hi & (hi + 1)) == 0
    return [
        names.get("bias", _NULL), names.get("multiplier", _NULL), names.get("multiplier2", _NULL),
        out.shape[-1], f"tr::Finish::{layer.finish}",
        _type("i32" if fused else types[layer.source]),
        _type(types[layer.operand] if layer.operand else "u8"), _type(types[layer.output]),
        node.shift if node is not None else 0, lo, hi, fits, saturate, hi.bit_length(),
    ]  # fmt: skip


def _type(name: str) -> str:
    return f"tr::Type::{name}"
