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
from tinyrobust.graph.base import Int32, Node, Reshape, aligned
from tinyrobust.tflite import arithmetic, moves, reductions, windows
from tinyrobust.tflite.context import (
    MAX_AXES,
    Context,
    Unsupported,
    activations,
    axis_of,
    graph_shape,
    int8_values,
    integers,
    plain,
    quote,
    scale_of,
    triple,
)
from tinyrobust.tflite.file import FileTensor
from tinyrobust.tflite.moves import moved
from tinyrobust.tflite.steps import Steps, dense


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
    for one, other in ((first, second), (second, first)):
        small = sum(n != 1 for n in one.shape[:-1]) == 0  # a value, or one for each channel
        if (
            not plain(one)
            and other.shape != one.shape
            and not small
            and not (sum(n != 1 for n in other.shape[:-1]) == 0)
        ):
            raise Unsupported(f"spreads {other.shape} over several samples, {one.shape}")
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


def _abs(context: Context) -> Node:
    return _unary(context, arithmetic.abs_table)


def _exp(context: Context) -> Node:
    return _unary(context, arithmetic.function_table, arithmetic.exponential)


def _log(context: Context) -> Node:
    return _unary(context, arithmetic.function_table, arithmetic.logarithm)


def _rsqrt(context: Context) -> Node:
    return _unary(context, arithmetic.rsqrt_table)


def _elu(context: Context) -> Node:
    return _unary(context, arithmetic.function_table, arithmetic.elu)


def _gelu(context: Context) -> Node:
    approximate = bool(context.option("Approximate", False))
    kind = arithmetic.gelu_tanh if approximate else arithmetic.gelu
    return _unary(context, arithmetic.function_table, kind)


def _prelu(context: Context) -> list[Node]:
    """A table above 0, a product with the slopes below it, and their sum.

    Where one of them is not meant it is the zero point, so that the sum, whose scales cancel, is
    the other one's code.
    """
    context.arity((2,))
    source, slopes, out = context.tensor(0), context.tensor(1), context.output()
    activations(source, out)
    int8_values(slopes)
    if not slopes.constant:
        raise Unsupported(f"has computed slopes {quote(slopes)}")
    (scale, zero), (slope, slope_zero) = scale_of(source), scale_of(slopes)
    out_scale, out_zero = scale_of(out)
    above = arithmetic.relu_table(0.0, math.inf, scale, zero, out_scale, out_zero)
    above[np.arange(256) - 128 < zero] = out_zero
    multiplier, shift = arithmetic.quantize_multiplier(
        arithmetic.mul_scale(scale, slope, out_scale)
    )
    steps, shape = Steps(context), graph_shape(out)
    name = steps.read(source)
    first = steps.add(int8.LookupInt8, [name], shape, table=above)
    below = steps.add(int8.MinimumInt8, [name], shape, source, constant=np.array([zero], np.int8))
    second = steps.add(
        int8.MulInt8, [below], shape, constant=slopes.values.reshape(graph_shape(slopes)),
        input_zeros=(zero, slope_zero), output_zero=out_zero, multiplier=multiplier, shift=shift,
    )  # fmt: skip
    half = 1 << 30
    steps.add(
        int8.AddInt8, [first, second], shape, input_zeros=(out_zero, out_zero),
        output_zero=out_zero, multipliers=(half, half, half), shifts=(0, 0, -18),
    )  # fmt: skip
    return steps.done()


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


def _squeeze(context: Context) -> Node:
    context.arity((1,))
    shape = context.tensor(0).shape
    found = context.operator.options.get("SqueezeDims", ())
    gone = {axis_of(axis, len(shape)) for axis in found} or {
        i for i, n in enumerate(shape) if n == 1
    }
    if any(shape[i] != 1 for i in gone):
        raise Unsupported(f"takes axes {sorted(gone)} from {shape}")
    context.expect(tuple(n for i, n in enumerate(shape) if i not in gone))
    return _view(context)


def _expand_dims(context: Context) -> Node:
    context.arity((2,))
    shape = context.tensor(0).shape
    axis = axis_of(integers(context.tensor(1), 1)[0], len(shape) + 1)
    context.expect((*shape[:axis], 1, *shape[axis:]))
    return _view(context)


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
    if not plain(source) or min(strides) < 0:
        moves = dense(source.shape)
        loops = [(n, s * m) for n, s, m in zip(counts, strides, moves, strict=True)]
        return moved(context, source, loops, sum(b * m for b, m in zip(begin, moves, strict=True)))
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
    if stride == 0:
        raise Unsupported("has stride 0")
    if masks["ShrinkAxis"]:
        first = 0 if masks["Begin"] else begin + n if begin < 0 else begin
        return min(max(first, 0), n - 1), 1
    if stride < 0:
        first = n - 1 if masks["Begin"] else min(max(begin + n if begin < 0 else begin, -1), n - 1)
        last = -1 if masks["End"] else min(max(end + n if end < 0 else end, -1), n - 1)
        return first, max(0, -(-(first - last) // -stride))
    first = 0 if masks["Begin"] else min(max(begin + n if begin < 0 else begin, 0), n)
    last = n if masks["End"] else min(max(end + n if end < 0 else end, 0), n)
    return first, max(0, -(-(last - first) // stride))


def _resize_nearest_neighbor(context: Context) -> Node:
    rows, columns = _resized(context, arithmetic.nearest_indices)
    source = context.tensor(0)
    return int8.ResizeNearestInt8(**context.edges(source), rows=rows, columns=columns)


def _resize_bilinear(context: Context) -> Node:
    rows, columns = _resized(context, arithmetic.bilinear_weights)
    source = context.tensor(0)
    return int8.ResizeBilinearInt8(**context.edges(source), rows=rows, columns=columns)


def _resized(context: Context, table: Callable[..., Int32]) -> tuple[Int32, Int32]:
    """``table`` of the rows and of the columns."""
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
    if not plain(source):
        raise Unsupported(f"resizes several samples: {source.shape}")
    rows, columns = (
        table(n, m, align=align, half=half) for n, m in zip(source.shape[1:3], size, strict=True)
    )
    return rows, columns


OPERATORS: Mapping[str, Callable[[Context], Node | list[Node]]] = {
    "ABS": _abs,
    "ADD": _add,
    "AVERAGE_POOL_2D": windows.average_pool_2d,
    "BATCH_TO_SPACE_ND": moves.batch_to_space_nd,
    "BROADCAST_TO": moves.broadcast_to,
    "CONCATENATION": moves.concatenation,
    "CONV_2D": windows.conv_2d,
    "DEPTHWISE_CONV_2D": windows.depthwise_conv_2d,
    "DEPTH_TO_SPACE": moves.depth_to_space,
    "ELU": _elu,
    "EXP": _exp,
    "EXPAND_DIMS": _expand_dims,
    "FULLY_CONNECTED": windows.fully_connected,
    "GATHER": moves.gather,
    "GELU": _gelu,
    "HARD_SWISH": _hard_swish,
    "LEAKY_RELU": _leaky_relu,
    "LOG": _log,
    "LOGISTIC": _logistic,
    "MAXIMUM": _maximum,
    "MAX_POOL_2D": windows.max_pool_2d,
    "MEAN": windows.mean,
    "MINIMUM": _minimum,
    "MUL": _mul,
    "PACK": moves.pack,
    "PAD": _pad,
    "PADV2": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _quantize,
    "REDUCE_MAX": reductions.reduce_max,
    "REDUCE_MIN": reductions.reduce_min,
    "RELU": _relu,
    "RELU6": _relu6,
    "RELU_N1_TO_1": _relu_n1_to_1,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest_neighbor,
    "RSQRT": _rsqrt,
    "SOFTMAX": _softmax,
    "SPACE_TO_BATCH_ND": moves.space_to_batch_nd,
    "SPACE_TO_DEPTH": moves.space_to_depth,
    "SPLIT": moves.split,
    "SPLIT_V": moves.split_v,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _sub,
    "TANH": _tanh,
    "TILE": moves.tile,
    "TRANSPOSE": moves.transpose,
    "TRANSPOSE_CONV": windows.transpose_conv,
    "UNPACK": moves.unpack,
}
