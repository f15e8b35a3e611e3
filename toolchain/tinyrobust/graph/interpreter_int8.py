"""The numpy interpreter of family ``tflite``: what each node of ``int8.py`` means, on batches.

In: int8 tensors (N, *shape) as the nodes before left them. Out: the node's tensor. Sums run in
float64 matrix products whose partial sums are integers below 2**53, so BLAS computes them
exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import int8
from tinyrobust.graph.base import Node, aligned
from tinyrobust.graph.nodes import Graph

Array = npt.NDArray[Any]
_Run = Callable[[Graph, Any, list[Array]], Array]


def high_mul(x: Any, multiplier: Any) -> Any:
    """gemmlowp's SaturatingRoundingDoublingHighMul of int32 values held in int64:
    ``(x * m + 2**30) >> 31``, and 2**31 - 1 for the square of -2**31."""
    product = np.asarray(x, np.int64) * np.asarray(multiplier, np.int64)
    return np.minimum((product + (1 << 30)) >> 31, (1 << 31) - 1)


def divide_by_power(x: Any, exponent: Any) -> Any:
    """gemmlowp's RoundingDivideByPOT: ``x / 2**exponent`` to the nearest, halves away from zero."""
    mask = (np.int64(1) << np.asarray(exponent, np.int64)) - 1
    threshold = (mask >> 1) + (np.asarray(x) < 0)
    return (x >> exponent) + ((x & mask) > threshold)


def multiply(x: Any, multiplier: Any, shift: Any) -> Any:
    """TensorFlow Lite's MultiplyByQuantizedMultiplier, ``mbqm`` of ``int8.py``, in int64.

    ``x * 2**shift`` wraps to int32 as the reference's does.
    """
    shift = np.asarray(shift, np.int64)
    left = np.asarray(x, np.int64) << np.maximum(shift, 0)
    wrapped = left.astype(np.int32).astype(np.int64)
    return divide_by_power(high_mul(wrapped, multiplier), np.maximum(-shift, 0))


def reciprocal(r: Any) -> Any:
    """gemmlowp's one_over_one_plus_x_for_x_in_0_1: 1 / (1 + r) of ``r`` in Q0.31, in Q0.31.

    Newton-Raphson: with half = (1 + r) / 2 in Q0.31, and in Q2.29 ``x = 48/17 - 32/17 * half``;
    three times ``x += x * (1 - half * x)``, the product (Q4.27) made Q2.29 with saturation; the
    result is ``x / 2``: the integers of Q2.29 doubled, with saturation.
    """
    half = (np.asarray(r, np.int64) + (1 << 31)) >> 1
    x = 1515870810 + high_mul(half, -1010580540)
    for _ in range(3):
        x = x + _saturate(high_mul(x, (1 << 29) - high_mul(half, x)) * 4)
    return _saturate(x * 2)


def _saturate(x: Any) -> Any:
    return np.clip(x, -(1 << 31), (1 << 31) - 1)


def _clamp(node: Any, x: Any) -> Array:
    return np.asarray(np.clip(x + node.output_zero, node.lo, node.hi).astype(np.int8))


def _hwc(x: Array) -> Array:
    return x.reshape(len(x), *aligned(x.shape[1:]))


def _windows(x: Array, size: tuple[int, ...], node: Any, fill: int) -> Array:
    """(N, OH, OW, C, KH, KW) view of ``x`` (N, H, W, C) padded with ``fill``."""
    top, bottom, left, right = node.pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    dy, dx = getattr(node, "dilations", (1, 1))
    axes: Any = (1, 2)
    extent = ((size[0] - 1) * dy + 1, (size[1] - 1) * dx + 1)
    view = np.lib.stride_tricks.sliding_window_view(padded, extent, axes)
    return view[:, :: node.strides[0], :: node.strides[1], :, ::dy, ::dx]


def _input(graph: Graph, node: int8.InputInt8, inputs: list[Array]) -> Array:
    return (inputs[0].astype(np.int16) - 128).astype(np.int8)


def _raw(graph: Graph, node: int8.InputRaw, inputs: list[Array]) -> Array:
    return inputs[0]


def _assign(graph: Graph, node: int8.Assign, inputs: list[Array]) -> Array:
    return inputs[0].reshape(len(inputs[0]), *graph.tensor[node.output].shape)


def _scores(graph: Graph, node: int8.ScoresInt8, inputs: list[Array]) -> Array:
    return inputs[0].reshape(len(inputs[0]), -1).astype(np.int32)


def _finish(node: int8.Weighted, acc: Array) -> Array:
    total = acc.astype(np.int64) + node.bias
    return _clamp(node, multiply(total, node.multipliers, node.shifts))


def sums(node: int8.Weighted, x: Array) -> Array:
    """What bias and scale of a weighted node are applied to: its exact sums (N, ..., OC) of int8
    ``x`` (N, *shape) less the zero point, in float64 that hold integers."""
    if isinstance(node, int8.Conv2DInt8):
        return _conv_sums(node, x)
    if isinstance(node, int8.DepthwiseConv2DInt8):
        return _depthwise_sums(node, x)
    rows = x.reshape(-1, node.weights.shape[1]).astype(np.float64) - node.input_zero
    return np.asarray(rows @ node.weights.astype(np.float64).T)


def _conv_sums(node: int8.Conv2DInt8, x: Array) -> Array:
    x = _hwc(x).astype(np.float64) - node.input_zero
    view = _windows(x, node.weights.shape[1:3], node, 0).transpose(0, 1, 2, 4, 5, 3)
    matrix = node.per_channel.astype(np.float64).T
    acc = view.reshape(-1, len(matrix)) @ matrix
    return np.asarray(acc.reshape(*view.shape[:3], -1))


def _depthwise_sums(node: int8.DepthwiseConv2DInt8, x: Array) -> Array:
    x = _hwc(x).astype(np.float64) - node.input_zero
    view = _windows(x, node.weights.shape[:2], node, 0)
    channels = x.shape[-1]
    weights = node.weights.astype(np.float64).reshape(*node.weights.shape[:2], channels, -1)
    acc = np.einsum("nyxcij,ijcm->nyxcm", view, weights, optimize=False)
    return np.asarray(acc.reshape(*acc.shape[:3], -1))


def _weighted(graph: Graph, node: int8.Weighted, inputs: list[Array]) -> Array:
    return _finish(node, sums(node, inputs[0]))


def _average_pool(graph: Graph, node: int8.AveragePool2DInt8, inputs: list[Array]) -> Array:
    x = _hwc(inputs[0])
    total = _windows(x.astype(np.int64), node.size, node, 0).sum(axis=(-2, -1))
    inside = np.ones((1, *x.shape[1:3], 1), np.int64)
    count = _windows(inside, node.size, node, 0).sum(axis=(-2, -1))
    quotient = (np.abs(total) + count // 2) // count
    return np.clip(np.sign(total) * quotient, node.lo, node.hi).astype(np.int8)


def _max_pool(graph: Graph, node: int8.MaxPool2DInt8, inputs: list[Array]) -> Array:
    largest = _windows(_hwc(inputs[0]), node.size, node, -128).max(axis=(-2, -1))
    return np.clip(largest, node.lo, node.hi).astype(np.int8)


def mean_sums(node: int8.MeanInt8, x: Array) -> Array:
    """The sums of a mean, which its multiplier scales, of int8 ``x`` (N, *shape)."""
    axes = tuple(i + 1 for i, reduced in enumerate(node.axes) if reduced)
    return np.asarray((_hwc(x).astype(np.int64) - node.input_zero).sum(axis=axes))


def _mean(graph: Graph, node: int8.MeanInt8, inputs: list[Array]) -> Array:
    mean = multiply(mean_sums(node, inputs[0]), node.multiplier, node.shift) + node.output_zero
    return np.clip(mean, -128, 127).astype(np.int8)


def _operands(node: int8.Binary, inputs: list[Array]) -> tuple[Array, Array]:
    """Both operands as int64, their shapes (N or 1, H, W, C) broadcast."""
    first = _hwc(inputs[0])
    if node.constant.size:
        second = _hwc(node.constant[None])
        if node.constant_first:
            first, second = second, first
    else:
        second = _hwc(inputs[1])
    return first.astype(np.int64), second.astype(np.int64)


def _add(graph: Graph, node: int8.AddInt8, inputs: list[Array]) -> Array:
    sign = -1 if isinstance(node, int8.SubInt8) else 1
    first, second = (
        multiply((x - zero) << 20, multiplier, shift)
        for x, zero, multiplier, shift in zip(
            _operands(node, inputs), node.input_zeros, node.multipliers, node.shifts,
            strict=False,
        )
    )  # fmt: skip
    return _clamp(node, multiply(first + sign * second, node.multipliers[2], node.shifts[2]))


def _mul(graph: Graph, node: int8.MulInt8, inputs: list[Array]) -> Array:
    return _clamp(node, multiply(product(node, inputs), node.multiplier, node.shift))


def product(node: int8.MulInt8, inputs: list[Array]) -> Array:
    """The products of a MUL, which its multiplier scales."""
    first, second = _operands(node, inputs)
    return (first - node.input_zeros[0]) * (second - node.input_zeros[1])


def _minimum(graph: Graph, node: int8.MinimumInt8, inputs: list[Array]) -> Array:
    return np.minimum(*_operands(node, inputs)).astype(np.int8)


def _maximum(graph: Graph, node: int8.MaximumInt8, inputs: list[Array]) -> Array:
    return np.maximum(*_operands(node, inputs)).astype(np.int8)


def _pad(graph: Graph, node: int8.PadInt8, inputs: list[Array]) -> Array:
    widths = ((0, 0), *zip(node.before, node.after, strict=True))
    return np.pad(_hwc(inputs[0]), widths, constant_values=node.value)


def _concat(graph: Graph, node: int8.ConcatInt8, inputs: list[Array]) -> Array:
    return np.concatenate([_hwc(x) for x in inputs], axis=node.axis + 1)


def _slice(graph: Graph, node: int8.StridedSliceInt8, inputs: list[Array]) -> Array:
    out = aligned(graph.tensor[node.output].shape)
    y, x, c = (
        slice(begin, begin + (size - 1) * stride + 1, stride)
        for begin, size, stride in zip(node.begin, out, node.strides, strict=True)
    )
    return _hwc(inputs[0])[:, y, x, c]


def _resize(graph: Graph, node: int8.ResizeNearestInt8, inputs: list[Array]) -> Array:
    return _hwc(inputs[0])[:, node.rows][:, :, node.columns]


def _bilinear(graph: Graph, node: int8.ResizeBilinearInt8, inputs: list[Array]) -> Array:
    x = _hwc(inputs[0]).astype(np.int64)
    (y0, y1, fy), (x0, x1, fx) = node.rows.T, node.columns.T
    fy, fx = fy.astype(np.int64)[:, None, None], fx.astype(np.int64)[:, None]
    rows = x[:, y0] * (1024 - fy) + x[:, y1] * fy
    v = rows[:, :, x0] * (1024 - fx) + rows[:, :, x1] * fx
    magnitude = (np.abs(v) + (1 << 19)) >> 20
    return np.asarray(np.where(v > 0, magnitude, -magnitude).astype(np.int8))


def rearranged(node: int8.RearrangeInt8) -> npt.NDArray[np.int64]:
    """For every element of the output that of the input, both flat."""
    index = np.full((1,) * 6, node.begin, np.int64)
    for axis, (size, step) in enumerate(zip(node.sizes, node.steps, strict=True)):
        along = [1] * 6
        along[axis] = size
        index = index + (np.arange(size, dtype=np.int64) * step).reshape(along)
    return index.reshape(-1)


def _rearrange(graph: Graph, node: int8.RearrangeInt8, inputs: list[Array]) -> Array:
    return inputs[0].reshape(len(inputs[0]), -1)[:, rearranged(node)]


def _lookup(graph: Graph, node: int8.LookupInt8, inputs: list[Array]) -> Array:
    return np.asarray(node.table[inputs[0].astype(np.int16) + 128])


def _softmax(graph: Graph, node: int8.SoftmaxInt8, inputs: list[Array]) -> Array:
    x = inputs[0].astype(np.int64)
    exps = node.exponentials.astype(np.int64)[x.max(axis=-1, keepdims=True) - x]
    total = divide_by_power(exps, 12).sum(axis=-1, keepdims=True)
    headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros
    scale = reciprocal((total << headroom) - (1 << 31))
    x, exponent = high_mul(scale, exps), 12 - headroom + 31 - 8
    # Past 31 the reference shifts by more than a word holds; this is what x86 makes of it.
    overlong = (x >> (exponent & 31)) + (exps > 0)
    q = np.where(exponent > 31, overlong, divide_by_power(x, np.minimum(exponent, 31)))
    return np.clip(q - 128, -128, 127).astype(np.int8)


def _shaped(run: _Run) -> _Run:
    """``run`` with its result in the shape of the node's tensor."""

    def shaped(graph: Graph, node: Node, inputs: list[Array]) -> Array:
        out = run(graph, node, inputs)
        return out.reshape(len(inputs[0]), *graph.tensor[node.output].shape)

    return shaped


_RUNS: Mapping[str, _Run] = {
    "input_int8": _input,
    "input_raw": _raw,
    "state": _raw,
    "assign": _assign,
    "scores_int8": _scores,
    "conv2d_int8": _weighted,
    "depthwise_conv2d_int8": _weighted,
    "dense_int8": _weighted,
    "average_pool_int8": _average_pool,
    "max_pool_int8": _max_pool,
    "mean_int8": _mean,
    "add_int8": _add,
    "sub_int8": _add,
    "mul_int8": _mul,
    "minimum_int8": _minimum,
    "maximum_int8": _maximum,
    "pad_int8": _pad,
    "concat_int8": _concat,
    "strided_slice_int8": _slice,
    "resize_nearest_int8": _resize,
    "resize_bilinear_int8": _bilinear,
    "rearrange_int8": _rearrange,
    "lookup_int8": _lookup,
    "softmax_int8": _softmax,
}
OPS: Mapping[str, _Run] = {op: _shaped(run) for op, run in _RUNS.items()}
