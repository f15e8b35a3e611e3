"""The rules of family ``tflite``, node by node; every accumulator is proved to fit int32.

In: a node with its tensors. Out: nothing, or GraphError naming the node and the numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import int8
from tinyrobust.graph.base import INT8, INT16, INT32, Node, Tensor, aligned
from tinyrobust.graph.rules import inputs, need, windows

MAX_SOFTMAX = 4095  # elements of a row: their sum is Q12.19
_Shape = tuple[int, ...]


def check_tensor(tensor: Tensor) -> None:
    """int8, int16 or int32 values in 1 to 3 axes; a scale is positive and finite."""
    where = f"tensor '{tensor.name}'"
    need(1 <= len(tensor.shape) <= 3, where, f"has shape {tensor.shape}; need 1 to 3 axes")
    ranges = (INT8, INT16, INT32)
    need(
        (tensor.lo, tensor.hi) in ranges, where,
        f"has range {tensor.lo}..{tensor.hi}, not that of int8, int16 or int32",
    )  # fmt: skip
    need(tensor.frac_bits == 0, where, "has a binary scale")
    if tensor.scale is not None:
        need(0 < tensor.scale < float("inf"), where, f"has scale {tensor.scale}")
        need(tensor.lo <= tensor.zero_point <= tensor.hi, where, f"zero point {tensor.zero_point}")


def check(node: Node, sources: list[Tensor], out: Tensor) -> None:
    """The rules of one node of this family."""
    for tensor in (*sources, out):
        need(
            node.op in WIDE or (tensor.lo, tensor.hi) == INT8, _where(node),
            f"tensor '{tensor.name}' has range {tensor.lo}..{tensor.hi}, not int8's",
        )  # fmt: skip
    CHECKS[node.op](node, sources, out)


def accumulator_range(node: int8.Weighted) -> tuple[Any, Any]:
    """Per-channel (lo, hi) of bias + sum w * (q - input_zero), int64; padding adds zeros."""
    flat = node.per_channel.astype(np.int64)
    plus, minus = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
    low, high = min(INT8[0] - node.input_zero, 0), max(INT8[1] - node.input_zero, 0)
    bias = node.bias.astype(np.int64)
    return bias + plus * low + minus * high, bias + plus * high + minus * low


def _where(node: Node) -> str:
    return f"node '{node.name}'"


def _int8_values(node: Node, what: str, *values: int) -> None:
    for value in values:
        need(INT8[0] <= value <= INT8[1], _where(node), f"{what} {value} is not int8")


def _clamp(node: Any) -> None:
    need(INT8[0] <= node.lo <= node.hi <= INT8[1], _where(node), f"clamps to {node.lo}..{node.hi}")


def _multiplier(node: Node, multiplier: int, shift: int) -> None:
    """A product that a shift to the left takes out of int32 wraps, as the reference's does: it is
    that of a dead or saturated channel, which has a scale far from the others'."""
    need(
        multiplier == 0 or (1 << 30) <= multiplier <= INT32[1], _where(node),
        f"multiplier {multiplier} is neither 0 nor in 2**30..2**31-1",
    )  # fmt: skip
    need(-31 <= shift <= 30, _where(node), f"shift {shift} is not in -31..30")


def _array(node: Node, name: str, dtype: Any, shape: _Shape) -> None:
    value = getattr(node, name)
    need(
        value.dtype == dtype and value.shape == shape, _where(node),
        f"{name} is {value.dtype} {value.shape}, needs {np.dtype(dtype)} {shape}",
    )  # fmt: skip


def _shape(node: Node, out: Tensor, made: _Shape) -> None:
    need(
        aligned(out.shape) == made, _where(node),
        f"output '{out.name}' has shape {out.shape}, its inputs make {made}",
    )  # fmt: skip


def _weighted(node: int8.Weighted, rank: int) -> None:
    where = _where(node)
    need(
        node.weights.dtype == np.int8 and node.weights.ndim == rank and node.weights.size > 0,
        where, f"weights are {node.weights.dtype} {node.weights.shape}, need int8 of rank {rank}",
    )  # fmt: skip
    channels = (len(node.per_channel),)
    _array(node, "bias", np.int32, channels)
    _array(node, "multipliers", np.int32, channels)
    _array(node, "shifts", np.int32, channels)
    _int8_values(node, "zero point", node.input_zero, node.output_zero)
    _clamp(node)
    need(node.weight_bits in (4, 8), where, f"has weights of {node.weight_bits} bits")
    limit = 1 << (node.weight_bits - 1)
    need(
        int(node.weights.min()) >= -limit and int(node.weights.max()) < limit,
        where, f"has weights outside {-limit}..{limit - 1}",
    )  # fmt: skip
    low, high = accumulator_range(node)
    largest = np.maximum(np.abs(low), np.abs(high))
    for channel, (reach, m, s) in enumerate(
        zip(largest.tolist(), node.multipliers.tolist(), node.shifts.tolist(), strict=True)
    ):
        need(reach <= INT32[1], where, f"channel {channel}: the sum reaches {reach:,}, over int32")
        _multiplier(node, m, s)


def _sliding(node: Any, source: Tensor, kernel: _Shape, out: Tensor, channels: int) -> None:
    """Strides, dilations and pads of a window, and the output's shape."""
    where = _where(node)
    dilations = getattr(node, "dilations", (1, 1))
    need(min(kernel) >= 1, where, f"has a window of {kernel}")
    need(min(node.strides) >= 1 and min(dilations) >= 1, where, "bad strides or dilations")
    need(min(node.pads) >= 0, where, "bad pads")
    top, bottom, left, right = node.pads
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    need(
        max(top, bottom) < extent[0] and max(left, right) < extent[1], where,
        "pads reach the window's size",
    )  # fmt: skip
    height, width, _ = aligned(source.shape)
    rows = windows(height, extent[0], node.strides[0], top, bottom)
    columns = windows(width, extent[1], node.strides[1], left, right)
    _shape(node, out, (rows, columns, channels))


def _input(node: int8.InputInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 0)
    need(len(out.shape) == 3, _where(node), "the input must be (H, W, C)")


def _raw(node: int8.InputRaw, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 0)


def _state(node: int8.State, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 0)
    dtype = {INT8: np.int8, INT16: np.int16, INT32: np.int32}[out.lo, out.hi]
    _array(node, "initial", dtype, out.shape)


def _assign(node: int8.Assign, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 2)
    value, state = sources
    need(
        value.size == state.size and out.shape == state.shape, _where(node),
        f"assigns {value.shape} to a state of {state.shape}, giving {out.shape}",
    )  # fmt: skip
    ranges = {(t.lo, t.hi) for t in (value, state, out)}
    need(len(ranges) == 1, _where(node), "assigns another type than the state has")


def _scores(node: int8.ScoresInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    need(out.shape == (sources[0].size,), _where(node), "changes the number of elements")


def _conv(node: int8.Conv2DInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    _weighted(node, 4)
    channels, kernel_h, kernel_w, depth = node.weights.shape
    have = sources[0].shape[-1]
    need(depth == have, _where(node), f"weights take {depth} channels, the input has {have}")
    _sliding(node, sources[0], (kernel_h, kernel_w), out, channels)


def _depthwise(node: int8.DepthwiseConv2DInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    _weighted(node, 3)
    kernel_h, kernel_w, channels = node.weights.shape
    have = sources[0].shape[-1]
    need(
        channels == have * node.depth_multiplier, _where(node),
        f"has {channels} channels; the input's {have} times {node.depth_multiplier} differ",
    )  # fmt: skip
    _sliding(node, sources[0], (kernel_h, kernel_w), out, channels)


def _dense(node: int8.DenseInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    _weighted(node, 2)
    outputs, depth = node.weights.shape
    size = sources[0].size
    need(size % depth == 0, _where(node), f"weights take {depth} inputs, the input has {size}")
    need(
        out.size == size // depth * outputs and out.shape[-1] == outputs, _where(node),
        f"output '{out.name}' has shape {out.shape}, need {size // depth} rows of {outputs}",
    )  # fmt: skip


def _pool(node: int8.AveragePool2DInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    _clamp(node)
    _sliding(node, sources[0], node.size, out, sources[0].shape[-1])


def _mean(node: int8.MeanInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    need(set(node.axes) <= {0, 1}, _where(node), f"axes are {node.axes}")
    shape = aligned(sources[0].shape)
    kept = [1 if reduced else n for n, reduced in zip(shape, node.axes, strict=True)]
    need(
        out.size == int(np.prod(kept)), _where(node),
        f"output '{out.name}' has shape {out.shape}, its input makes {tuple(kept)}",
    )  # fmt: skip
    _int8_values(node, "zero point", node.input_zero, node.output_zero)
    reach = max(INT8[1] - node.input_zero, node.input_zero - INT8[0])
    need(
        node.multiplier == 0 or 0 < node.multiplier <= INT32[1], _where(node),
        f"multiplier {node.multiplier}",
    )  # fmt: skip
    need(-31 <= node.shift <= 30, _where(node), f"shift {node.shift} is not in -31..30")
    largest = reach * (sources[0].size // out.size)
    need(largest <= INT32[1], _where(node), f"the sum reaches {largest:,}, over int32")


def _binary(node: int8.Binary, sources: list[Tensor], out: Tensor) -> None:
    constant = node.constant
    need(constant.dtype == np.int8, _where(node), "the constant must be int8")
    inputs(node, sources, 1 if constant.size else 2)
    need(constant.ndim <= 3, _where(node), f"the constant has shape {constant.shape}")
    shapes = [aligned(s.shape) for s in sources]
    if constant.size:
        shapes.append(aligned(constant.shape))
    for a, b in zip(*shapes, strict=True):
        need(a == b or 1 in (a, b), _where(node), f"operands {shapes[0]} and {shapes[1]}")
    _shape(node, out, tuple(max(a, b) for a, b in zip(*shapes, strict=True)))


def _add(node: int8.AddInt8, sources: list[Tensor], out: Tensor) -> None:
    _binary(node, sources, out)
    _int8_values(node, "zero point", *node.input_zeros, node.output_zero)
    _clamp(node)
    for multiplier, shift in zip(node.multipliers, node.shifts, strict=True):
        need(shift <= 0, _where(node), f"shift {shift} is above 0")
        _multiplier(node, multiplier, shift)
    # Each product is at most half of 255 * 2**20 when its scale is no larger than the other's.
    reach = sum((255 << 20) * m >> 31 for m in node.multipliers[:2]) + 2
    need(reach <= INT32[1], _where(node), f"the sum reaches {reach:,}, over int32")


def _mul(node: int8.MulInt8, sources: list[Tensor], out: Tensor) -> None:
    _binary(node, sources, out)
    _int8_values(node, "zero point", *node.input_zeros, node.output_zero)
    _clamp(node)
    _multiplier(node, node.multiplier, node.shift)


def _pad(node: int8.PadInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    need(min(*node.before, *node.after) >= 0, _where(node), "bad pads")
    _int8_values(node, "value", node.value)
    sizes = zip(aligned(sources[0].shape), node.before, node.after, strict=True)
    _shape(node, out, tuple(n + before + after for n, before, after in sizes))


def _concat(node: int8.ConcatInt8, sources: list[Tensor], out: Tensor) -> None:
    need(len(sources) >= 1, _where(node), "has no inputs")
    need(node.axis in (0, 1, 2), _where(node), f"axis {node.axis}")
    shapes = [list(aligned(s.shape)) for s in sources]
    made = [*shapes[0]]
    made[node.axis] = sum(s[node.axis] for s in shapes)
    for shape in shapes:
        shape[node.axis] = shapes[0][node.axis]
        need(shape == shapes[0], _where(node), "its inputs differ in shape")
    _shape(node, out, tuple(made))


def _slice(node: int8.StridedSliceInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    axes = zip(aligned(sources[0].shape), aligned(out.shape), node.begin, node.strides, strict=True)
    for n, size, begin, stride in axes:
        need(
            begin >= 0 and stride >= 1 and begin + (size - 1) * stride < n, _where(node),
            f"takes {size} elements from {begin} by {stride} of an axis of {n}",
        )  # fmt: skip


def _resize(node: int8.ResizeNearestInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    height, width, _ = aligned(out.shape)
    limits = aligned(sources[0].shape)
    for name, size, limit in (("rows", height, limits[0]), ("columns", width, limits[1])):
        _array(node, name, np.int32, (size,))
        values: npt.NDArray[np.int32] = getattr(node, name)
        need(
            int(values.min()) >= 0 and int(values.max()) < limit, _where(node),
            f"{name} leave 0..{limit - 1}",
        )  # fmt: skip
    _shape(node, out, (height, width, limits[2]))


def _bilinear(node: int8.ResizeBilinearInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    height, width, _ = aligned(out.shape)
    limits = aligned(sources[0].shape)
    for name, size, limit in (("rows", height, limits[0]), ("columns", width, limits[1])):
        _array(node, name, np.int32, (size, 3))
        values: npt.NDArray[np.int32] = getattr(node, name)
        need(
            int(values[:, :2].min()) >= 0 and int(values[:, :2].max()) < limit, _where(node),
            f"{name} leave 0..{limit - 1}",
        )  # fmt: skip
        weights = values[:, 2]
        need(
            int(weights.min()) >= -1024 and int(weights.max()) <= 2048, _where(node),
            f"{name} have weights {int(weights.min())}..{int(weights.max())}",
        )  # fmt: skip
        # Weights outside 0..1024 come with one source twice: the result stays within the inputs.
        outside = (weights < 0) | (weights > 1024)
        need(
            not np.any(outside & (values[:, 0] != values[:, 1])), _where(node),
            f"{name} extrapolate",
        )  # fmt: skip
    _shape(node, out, (height, width, limits[2]))


def _rearrange(node: int8.RearrangeInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    need(min(node.sizes) >= 1, _where(node), f"sizes are {node.sizes}")
    made = math.prod(node.sizes)
    need(made == out.size, _where(node), f"makes {made:,} elements, the output has {out.size:,}")
    reach = [(n - 1) * step for n, step in zip(node.sizes, node.steps, strict=True)]
    low = node.begin + sum(min(r, 0) for r in reach)
    high = node.begin + sum(max(r, 0) for r in reach)
    need(
        low >= 0 and high < sources[0].size, _where(node),
        f"reads elements {low}..{high} of {sources[0].size}",
    )  # fmt: skip


def _lookup(node: int8.LookupInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    _array(node, "table", np.int8, (256,))
    _shape(node, out, aligned(sources[0].shape))


def _softmax(node: int8.SoftmaxInt8, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    _array(node, "exponentials", np.int32, (256,))
    _shape(node, out, aligned(sources[0].shape))
    table = node.exponentials
    need(
        int(table[0]) == INT32[1] and int(table.min()) >= 0, _where(node),
        "exponentials must begin with 1 and none may be below 0",
    )  # fmt: skip
    need(out.shape[-1] <= MAX_SOFTMAX, _where(node), f"rows of {out.shape[-1]} elements")


CHECKS: dict[str, Any] = {
    "input_int8": _input,
    "input_raw": _raw,
    "state": _state,
    "assign": _assign,
    "scores_int8": _scores,
    "conv2d_int8": _conv,
    "depthwise_conv2d_int8": _depthwise,
    "dense_int8": _dense,
    "average_pool_int8": _pool,
    "max_pool_int8": _pool,
    "mean_int8": _mean,
    "add_int8": _add,
    "sub_int8": _add,
    "mul_int8": _mul,
    "minimum_int8": _binary,
    "maximum_int8": _binary,
    "pad_int8": _pad,
    "concat_int8": _concat,
    "strided_slice_int8": _slice,
    "resize_nearest_int8": _resize,
    "resize_bilinear_int8": _bilinear,
    "rearrange_int8": _rearrange,
    "lookup_int8": _lookup,
    "softmax_int8": _softmax,
}
WIDE = frozenset({"input_raw", "state", "assign"})  # whose tensors need not be int8
