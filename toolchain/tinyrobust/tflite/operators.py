"""TensorFlow Lite's operators as nodes of ``graph/int8.py``; one function each.

In: an operator in its Context. Out: the node, or nodes; Unsupported with the reason where there
is none. ``OPERATORS`` lists what there is; ``tflite.py`` walks a file with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinyrobust.graph import int8
from tinyrobust.graph.base import Node, Reshape, aligned
from tinyrobust.tflite import arithmetic, windows
from tinyrobust.tflite.context import (
    MAX_AXES,
    Context,
    Unsupported,
    activations,
    graph_shape,
    int8_values,
    integers,
    position,
    quote,
    same_quantisation,
    scale_of,
    triple,
)
from tinyrobust.tflite.file import FileTensor


def _operands(context: Context) -> tuple[dict[str, Any], FileTensor, FileTensor]:
    """The fields of ``Binary``, and both operands."""
    context.arity((2,))
    first, second = context.tensor(0), context.tensor(1)
    out = context.output()
    activations(out)
    int8_values(first)
    int8_values(second)
    if first.constant and second.constant:
        raise Unsupported("has two constant operands")
    fields = context.edges(*(t for t in (first, second) if not t.constant))
    constant = first if first.constant else second
    if constant.constant:
        fields["constant"] = constant.values.reshape(graph_shape(constant)).astype(np.int8)
        fields["constant_first"] = first.constant
    return fields, first, second


def _add_or_sub(context: Context, kind: type[int8.AddInt8]) -> Node:
    fields, first, second = _operands(context)
    (s0, z0), (s1, z1), (out, zero) = scale_of(first), scale_of(second), scale_of(context.output())
    multipliers, shifts = arithmetic.add_multipliers(s0, s1, out)
    lo, hi = context.activation(0)
    return kind(**fields, input_zeros=(z0, z1), output_zero=zero, multipliers=multipliers,
                shifts=shifts, lo=lo, hi=hi)  # fmt: skip


def _add(context: Context) -> Node:
    return _add_or_sub(context, int8.AddInt8)


def _sub(context: Context) -> Node:
    return _add_or_sub(context, int8.SubInt8)


def _mul(context: Context) -> Node:
    fields, first, second = _operands(context)
    (s0, z0), (s1, z1), (out, zero) = scale_of(first), scale_of(second), scale_of(context.output())
    multiplier, shift = arithmetic.quantize_multiplier(arithmetic.mul_scale(s0, s1, out))
    lo, hi = context.activation(0)
    return int8.MulInt8(**fields, input_zeros=(z0, z1), output_zero=zero, multiplier=multiplier,
                        shift=shift, lo=lo, hi=hi)  # fmt: skip


def _minimum(context: Context) -> Node:
    return int8.MinimumInt8(**_operands(context)[0])


def _maximum(context: Context) -> Node:
    return int8.MaximumInt8(**_operands(context)[0])


# ---------------------------------------------------------------- one value


def _unary(context: Context, table: Callable[..., arithmetic.Table], *more: Any) -> Node:
    context.arity((1,))
    source, out = context.tensor(0), context.output()
    activations(source, out)
    values = table(*more, *scale_of(source), *scale_of(out))
    return int8.LookupInt8(**context.edges(source), table=values)


def _logistic(context: Context) -> Node:
    return _unary(context, arithmetic.function_table, arithmetic.logistic)


def _tanh(context: Context) -> Node:
    return _unary(context, arithmetic.function_table, math.tanh)


def _relu(context: Context) -> Node:
    return _unary(context, arithmetic.relu_table, 0.0, math.inf)


def _relu6(context: Context) -> Node:
    return _unary(context, arithmetic.relu_table, 0.0, 6.0)


def _relu_n1_to_1(context: Context) -> Node:
    return _unary(context, arithmetic.relu_table, -1.0, 1.0)


def _leaky_relu(context: Context) -> Node:
    return _unary(context, arithmetic.leaky_relu_table, context.option("Alpha"))


def _hard_swish(context: Context) -> Node:
    return _unary(context, arithmetic.hard_swish_table)


def _quantize(context: Context) -> Node:
    return _unary(context, arithmetic.requantize_table)


def _softmax(context: Context) -> Node:
    context.arity((1,))
    source, out = context.tensor(0), context.output()
    activations(source, out)
    if scale_of(out) != (1 / 256, -128):
        raise Unsupported(f"{quote(out)} has {scale_of(out)}; need scale 1/256, zero point -128")
    table = arithmetic.softmax_exponentials(context.option("Beta"), scale_of(source)[0])
    return int8.SoftmaxInt8(**context.edges(source), exponentials=table)


# ---------------------------------------------------------------- the same values elsewhere


def _view(context: Context) -> Node:
    source, out = context.tensor(0), context.output()
    activations(source, out)
    if source.size != out.size:
        raise Unsupported(f"makes shape {out.shape} of {source.shape}")
    return Reshape(**context.edges(source))


def _reshape(context: Context) -> Node:
    context.arity((1, 2))
    shape, out = context.optional(1), context.output().shape
    wanted = list(context.operator.options.get("NewShape", out))
    if shape is not None and (shape.constant or shape.size == 0):
        wanted = integers(shape) if shape.constant else []
    sound = len(wanted) == len(out) and wanted.count(-1) <= 1
    if not sound or any(w not in (n, -1) for w, n in zip(wanted, out, strict=True)):
        raise Unsupported(f"makes {tuple(wanted)}, its output has shape {out}")
    return _view(context)


def _transpose(context: Context) -> Node:
    context.arity((2,))
    source = context.tensor(0)
    rank = len(source.shape)
    order = [p for p in integers(context.tensor(1), rank) if 0 <= p < rank]
    if sorted(order) != list(range(rank)):
        raise Unsupported(f"has no permutation of {rank} axes")
    moved = [p for p in order if source.shape[p] != 1]
    if moved != sorted(moved):
        raise Unsupported(
            f"moves axes of shape {source.shape} by {tuple(order)}; only axes of 1 may move"
        )
    context.expect(tuple(source.shape[p] for p in order))
    return _view(context)


def _squeeze(context: Context) -> Node:
    context.arity((1,))
    shape = context.tensor(0).shape
    found = context.operator.options.get("SqueezeDims", ())
    gone = {_axis(axis, len(shape)) for axis in found} or {i for i, n in enumerate(shape) if n == 1}
    if any(shape[i] != 1 for i in gone):
        raise Unsupported(f"takes axes {sorted(gone)} from {shape}")
    context.expect(tuple(n for i, n in enumerate(shape) if i not in gone))
    return _view(context)


def _expand_dims(context: Context) -> Node:
    context.arity((2,))
    shape = context.tensor(0).shape
    axis = _axis(integers(context.tensor(1), 1)[0], len(shape) + 1)
    context.expect((*shape[:axis], 1, *shape[axis:]))
    return _view(context)


def _axis(axis: int, rank: int) -> int:
    """``axis`` from the front."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of a tensor of {rank} axes")
    return axis % rank


def _pad(context: Context) -> Node:
    context.arity((2, 3))
    source, out = context.tensor(0), context.output()
    activations(source, out)
    rank = len(source.shape)
    pairs = integers(context.tensor(1), 2 * rank)
    before, after = pairs[0::2], pairs[1::2]
    batch = 2 * max(rank - MAX_AXES, 0)
    if min(pairs) < 0 or any(pairs[:batch]):
        raise Unsupported(f"pads by {pairs}; the batch cannot be padded, nor anything be cut off")
    value = scale_of(out)[1]
    fill = context.optional(2)
    if fill is not None:
        if not fill.constant or fill.type != "INT8" or fill.size != 1:
            raise Unsupported(f"{quote(fill)} must be one constant of INT8")
        value = int(fill.values.reshape(-1)[0])
    return int8.PadInt8(
        **context.edges(source), before=triple(before, 0), after=triple(after, 0), value=value
    )


def _concatenation(context: Context) -> Node:
    sources = [context.tensor(i) for i in range(len(context.operator.inputs))]
    if not sources:
        raise Unsupported("has no inputs")
    out = context.output()
    activations(*sources, out)
    if context.option("FusedActivationFunction", 0):
        raise Unsupported("has a fused activation")
    for source in sources:
        same_quantisation(source, out)
        if len(source.shape) != len(out.shape):
            raise Unsupported(f"{quote(source)} has shape {source.shape}, the output {out.shape}")
    axis = position(context.option("Axis"), len(out.shape))
    if axis < 0:
        raise Unsupported("is along the batch")
    return int8.ConcatInt8(**context.edges(*sources), axis=axis)


def _strided_slice(context: Context) -> Node | list[Node]:
    context.arity((4,))
    source, out = context.tensor(0), context.output()
    activations(source, out)
    rank = len(source.shape)
    starts, ends, strides = (integers(context.tensor(i), rank) for i in (1, 2, 3))
    masks = {m: context.option(f"{m}Mask", 0) for m in ("Begin", "End", "ShrinkAxis")}
    if any(context.option(m, 0) for m in ("EllipsisMask", "NewAxisMask", "Offset")):
        raise Unsupported("has an ellipsis, a new axis or an offset")
    begin, counts = [], []
    for i, n in enumerate(source.shape):
        bits = {name: mask >> i & 1 for name, mask in masks.items()}
        first, count = _slice(n, starts[i], ends[i], strides[i], bits)
        begin.append(first)
        counts.append(count)
    dropped = [masks["ShrinkAxis"] >> i & 1 for i in range(rank)]
    context.expect(tuple(n for n, gone in zip(counts, dropped, strict=True) if not gone))
    if min(counts) < 1:
        raise Unsupported(f"takes {tuple(counts)} elements")
    if rank > MAX_AXES and counts[0] != source.shape[0]:
        raise Unsupported("slices the batch")
    edges = context.edges(source)
    fields: dict[str, Any] = {"begin": triple(begin, 0), "strides": triple(strides, 1)}
    taken = triple(counts, 1)
    if aligned(graph_shape(out)) == taken:
        return int8.StridedSliceInt8(**edges, **fields)
    whole = context.temporary("slice", taken)  # an axis in the middle or at the end is dropped
    name = f"{context.node_name}.view"
    return [
        int8.StridedSliceInt8(**{**edges, "output": whole}, **fields),
        Reshape(name, (whole,), edges["output"]),
    ]


def _slice(n: int, begin: int, end: int, stride: int, masks: dict[str, int]) -> tuple[int, int]:
    """(first, count) along one axis of ``n``, as StridedSlice's StartForAxis and StopForAxis."""
    if stride < 1:
        raise Unsupported(f"has stride {stride}")
    first = 0 if masks["Begin"] else min(max(begin + n if begin < 0 else begin, 0), n)
    last = n if masks["End"] else min(max(end + n if end < 0 else end, 0), n)
    if masks["ShrinkAxis"]:
        return min(first, n - 1), 1
    return first, max(0, -(-(last - first) // stride))


def _split(context: Context) -> list[Node]:
    context.arity((2,), len(context.operator.outputs))
    (axis,) = integers(context.tensor(0), 1)
    source = context.tensor(1)
    parts = len(context.operator.outputs)
    activations(source)
    where = position(axis, len(source.shape))
    if where < 0 or source.shape[axis] % max(parts, 1) or context.option("NumSplits") != parts:
        raise Unsupported(f"splits axis {axis} of {source.shape} into {parts}")
    each = source.shape[axis] // parts
    nodes: list[Node] = []
    for i in range(parts):
        out = context.output(i)
        activations(out)
        context.expect((*source.shape[:axis], each, *source.shape[axis:][1:]), i)
        nodes.append(int8.StridedSliceInt8(
            f"{context.node_name}.{i}", (context.names[source.index],), context.names[out.index],
            begin=triple([i * each if axis == where else 0 for axis in range(MAX_AXES)], 0),
        ))  # fmt: skip
    return nodes


def _resize_nearest_neighbor(context: Context) -> Node:
    context.arity((2,))
    source, out = context.tensor(0), context.output()
    activations(source, out)
    if len(source.shape) != 4:
        raise Unsupported(f"{quote(source)} has shape {source.shape}, need (1, H, W, C)")
    size = integers(context.tensor(1), 2)
    if min(size) < 1 or tuple(size) != out.shape[1:3]:
        raise Unsupported(f"makes {size}, its output has shape {out.shape}")
    align, half = (
        bool(context.option("AlignCorners", 0)),
        bool(context.option("HalfPixelCenters", 0)),
    )
    rows, columns = (
        arithmetic.nearest_indices(n, m, align=align, half=half)
        for n, m in zip(source.shape[1:3], size, strict=True)
    )
    return int8.ResizeNearestInt8(**context.edges(source), rows=rows, columns=columns)


OPERATORS: Mapping[str, Callable[[Context], Node | list[Node]]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": windows.average_pool_2d,
    "CONCATENATION": _concatenation,
    "CONV_2D": windows.conv_2d,
    "DEPTHWISE_CONV_2D": windows.depthwise_conv_2d,
    "EXPAND_DIMS": _expand_dims,
    "FULLY_CONNECTED": windows.fully_connected,
    "HARD_SWISH": _hard_swish,
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": _logistic,
    "MAXIMUM": _maximum,
    "MAX_POOL_2D": windows.max_pool_2d,
    "MEAN": windows.mean,
    "MINIMUM": _minimum,
    "MUL": _mul,
    "PAD": _pad,
    "PADV2": _pad,
    "QUANTIZE": _quantize,
    "RELU": _relu,
    "RELU6": _relu6,
    "RELU_N1_TO_1": _relu_n1_to_1,
    "RESHAPE": _reshape,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest_neighbor,
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _sub,
    "TANH": _tanh,
    "TRANSPOSE": _transpose,
}
