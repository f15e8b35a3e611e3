"""The constant parameter structs of ``firmware/runtime/int8_layers.hpp``.

In: a layer of family ``tflite`` and its Graph. Out: the struct's type, its arrays, and its
initialiser. A packing of such a kernel is a module of ``codegen/packers`` with
``arrays(layer, graph) -> dict[str, array]``: the arrays that replace the plain ones; None leaves
one out. With ``STRUCT`` and ``initialiser`` it has a struct of its own.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.codegen import text
from tinyrobust.graph import int8
from tinyrobust.graph.base import aligned
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import loops
from tinyrobust.kernels.layers import Layer

Arrays = dict[str, npt.NDArray[Any] | None]
Names = Mapping[str, str]
_NULL = "nullptr"

_STRUCTS = {
    "input_int8": "CountI8",
    "input_raw": "CountI8",
    "assign": "CountI8",
    "scores_int8": "CountI8",
    "conv2d_int8": "Conv2DI8",
    "depthwise_conv2d_int8": "Conv2DI8",
    "dense_int8": "DenseI8",
    "average_pool_int8": "Pool2DI8",
    "max_pool_int8": "Pool2DI8",
    "mean_int8": "MeanI8",
    "add_int8": "BinaryI8",
    "sub_int8": "BinaryI8",
    "mul_int8": "BinaryI8",
    "minimum_int8": "BinaryI8",
    "maximum_int8": "BinaryI8",
    "pad_int8": "CopyI8",
    "strided_slice_int8": "CopyI8",
    "concat_int8": "ConcatI8",
    "resize_nearest_int8": "ResizeI8",
    "resize_bilinear_int8": "BilinearI8",
    "rearrange_int8": "RearrangeI8",
    "lookup_int8": "LookupI8",
    "softmax_int8": "SoftmaxI8",
}


def handles(layer: Layer) -> bool:
    """True for layers of family ``tflite``."""
    return layer.op in _STRUCTS


def reads_many(layer: Layer) -> bool:
    """True for layers that are given a list of all their inputs."""
    return isinstance(layer.node, int8.ConcatInt8)


def struct(layer: Layer) -> str:
    """Name of the parameter struct."""
    return _STRUCTS[layer.op]


def definitions(layer: Layer, graph: Graph, packing: str | None, symbol: str) -> str:
    """C++ text of the layer's arrays and of its struct, which is called ``symbol``."""
    found = arrays(layer, graph)
    make, kind = initialiser, struct(layer)
    if packing is not None:
        packer: Any = importlib.import_module(f"tinyrobust.codegen.packers.{packing}")
        found |= packer.arrays(layer, graph)
        make, kind = getattr(packer, "initialiser", make), getattr(packer, "STRUCT", kind)
    lines, names = [], {}
    for field, values in found.items():
        names[field] = _NULL if values is None else f"{symbol}_{field}"
        if values is None:
            continue
        section = "TR_WEIGHTS" if field == "weights" else "TR_TABLES"
        lines.append(text.array(section, f"{values.dtype.name}_t", names[field], values))
    members = text.aggregate(make(layer, graph, names), "    ")
    lines.append(f"TR_TABLES constexpr tr::{kind} {symbol} =\n{members};\n")
    return "".join(lines)


def arrays(layer: Layer, graph: Graph) -> Arrays:
    """The arrays of the layer by field name, as kernels without a packing want them.

    Multipliers and shifts that all channels share are one element.
    """
    node: Any = layer.node
    if isinstance(node, int8.Weighted):
        n = None if per_channel(node) else 1
        return {"weights": node.weights, "bias": node.bias, "multipliers": node.multipliers[:n],
                "shifts": node.shifts[:n].astype(np.int8)}  # fmt: skip
    if isinstance(node, int8.Binary) and node.constant.size:
        return {"constant": node.constant}
    if isinstance(node, int8.ConcatInt8):
        bytes_ = [math.prod(aligned(graph.tensor[t].shape)[node.axis :]) for t in node.inputs]
        return {"bytes": np.array(bytes_, np.uint32)}
    if isinstance(node, int8.ResizeNearestInt8):
        return {"rows": node.rows.astype(np.uint16), "columns": node.columns.astype(np.uint16)}
    if isinstance(node, int8.ResizeBilinearInt8):
        return {"rows": node.rows.astype(np.int16), "columns": node.columns.astype(np.int16)}
    if isinstance(node, int8.LookupInt8):
        return {"table": node.table}
    if isinstance(node, int8.SoftmaxInt8):
        known = node.exponentials[: known_exponentials(node)]
        return {"exponentials": np.append(known, np.zeros(1, known.dtype))}
    return {}


def per_channel(node: int8.Weighted) -> bool:
    """False when all output channels have the same multiplier and shift."""
    return bool(np.any(node.multipliers != node.multipliers[0])
                or np.any(node.shifts != node.shifts[0]))  # fmt: skip


def known_exponentials(node: int8.SoftmaxInt8) -> int:
    """Leading entries of the table that are not all 0."""
    return int(np.flatnonzero(node.exponentials)[-1]) + 1


def initialiser(layer: Layer, graph: Graph, names: Names) -> list[Any]:
    """Values of the struct's members in order; ``names`` gives the arrays' C++ names."""
    return _INITIALISERS[struct(layer)](layer.node, graph, names)


def _shapes(node: Any, graph: Graph) -> tuple[list[loops.Shape], loops.Shape]:
    return [graph.tensor[t].shape for t in node.inputs], graph.tensor[node.output].shape


def _count(node: Any, graph: Graph, names: Names) -> list[Any]:
    tensor = graph.tensor[node.output]
    return [tensor.bytes if isinstance(node, int8.InputRaw | int8.Assign) else tensor.size]


def _requantize(node: int8.Weighted, names: Names) -> list[Any]:
    return [names["bias"], names["multipliers"], names["shifts"], per_channel(node),
            node.output_zero, node.lo, node.hi]  # fmt: skip


def _conv(node: Any, graph: Graph, names: Names) -> list[Any]:
    sources, out = _shapes(node, graph)
    depthwise = isinstance(node, int8.DepthwiseConv2DInt8)
    kernel = node.weights.shape[:2] if depthwise else node.weights.shape[1:3]
    return [
        names["weights"], _requantize(node, names), -node.input_zero,
        *aligned(sources[0]), *aligned(out), *kernel, *node.strides, *node.dilations,
        node.pads[0], node.pads[2], node.depth_multiplier if depthwise else 1,
    ]  # fmt: skip


def _dense(node: int8.DenseInt8, graph: Graph, names: Names) -> list[Any]:
    outputs, inputs = node.weights.shape
    rows = graph.tensor[node.output].size // outputs
    return [names["weights"], _requantize(node, names), -node.input_zero, rows, inputs, outputs]


def _pool(node: int8.AveragePool2DInt8, graph: Graph, names: Names) -> list[Any]:
    sources, out = _shapes(node, graph)
    return [*aligned(sources[0]), *aligned(out)[:2], *node.size, *node.strides,
            node.pads[0], node.pads[2], node.lo, node.hi]  # fmt: skip


def _mean(node: int8.MeanInt8, graph: Graph, names: Names) -> list[Any]:
    outer, inner = loops.mean(node, graph.tensor[node.inputs[0]].shape)
    offset = -node.input_zero * math.prod(inner.size)
    return [*([w.size, w.steps[0]] for w in (outer, inner)), offset, node.multiplier, node.shift,
            node.output_zero]  # fmt: skip


def _binary(node: Any, graph: Graph, names: Names) -> list[Any]:
    walk = loops.binary(node, *_shapes(node, graph))
    zeros = getattr(node, "input_zeros", (0, 0))
    multipliers, shifts = getattr(node, "multipliers", (0, 0, 0)), getattr(node, "shifts", (0,) * 3)
    constant_at = (0 if node.constant_first else 1) if node.constant.size else None
    operands = [
        [names["constant"] if i == constant_at else _NULL, walk.steps[i], -zeros[i], shifts[i],
         multipliers[i]]
        for i in (0, 1)
    ]  # fmt: skip
    return [*operands, walk.size, getattr(node, "multiplier", multipliers[2]),
            getattr(node, "shift", shifts[2]), getattr(node, "output_zero", 0),
            getattr(node, "lo", -128), getattr(node, "hi", 127)]  # fmt: skip


def _copy(node: Any, graph: Graph, names: Names) -> list[Any]:
    sources, out = _shapes(node, graph)
    found = loops.copy(node, sources[0], out)
    return [found.loops.size, *found.loops.steps, found.source, found.target, found.fill,
            getattr(node, "value", 0)]  # fmt: skip


def _concat(node: int8.ConcatInt8, graph: Graph, names: Names) -> list[Any]:
    outer = math.prod(aligned(graph.tensor[node.output].shape)[: node.axis])
    return [outer, len(node.inputs), names["bytes"]]


def _resize(node: int8.ResizeNearestInt8, graph: Graph, names: Names) -> list[Any]:
    sources, out = _shapes(node, graph)
    return [*aligned(sources[0])[1:], *aligned(out)[:2], names["rows"], names["columns"]]


def _rearrange(node: int8.RearrangeInt8, graph: Graph, names: Names) -> list[Any]:
    return [list(node.sizes), list(node.steps), node.begin]


def _lookup(node: int8.LookupInt8, graph: Graph, names: Names) -> list[Any]:
    return [names["table"], graph.tensor[node.output].size]


def _softmax(node: int8.SoftmaxInt8, graph: Graph, names: Names) -> list[Any]:
    out = graph.tensor[node.output]
    depth = out.shape[-1]
    return [names["exponentials"], known_exponentials(node), out.size // depth, depth]


_INITIALISERS: dict[str, Callable[[Any, Graph, Names], list[Any]]] = {
    "CountI8": _count,
    "Conv2DI8": _conv,
    "DenseI8": _dense,
    "Pool2DI8": _pool,
    "MeanI8": _mean,
    "BinaryI8": _binary,
    "CopyI8": _copy,
    "ConcatI8": _concat,
    "ResizeI8": _resize,
    "BilinearI8": _resize,
    "RearrangeI8": _rearrange,
    "LookupI8": _lookup,
    "SoftmaxI8": _softmax,
}
