"""Random models of one operator each, as ``.tflite`` bytes: any shape, padding, stride, scale and
zero point that TensorFlow Lite's int8 kernels take.

In: an operator and a seeded generator. Out: the file. Every model has one int8 input; an operator
of two computed operands reads two slices of it, whose scales differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests import tflite_lowered_cases
from tests.tflite_models import Op, T, constant, write

Rng = np.random.Generator
SAME, VALID = 0, 1


def scale(rng: Rng, low: float = 1e-3, high: float = 0.5) -> float:
    """A float32 between ``low`` and ``high``, log-uniform."""
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def zero(rng: Rng) -> int:
    """A zero point; the ends of the range come often."""
    return int(rng.choice([-128, 127, 0, rng.integers(-128, 128), rng.integers(-128, 128)]))


def tensor(rng: Rng, *shape: int) -> T:
    """A computed tensor with a batch of 1 in front."""
    return T((1, *(int(n) for n in shape)), scale(rng), zero(rng))


def _i32(*values: int) -> T:
    return constant(np.array(values, np.int32))


def _hwc(rng: Rng, high: int = 9) -> tuple[int, int, int]:
    h, w, c = (int(n) for n in rng.integers(1, high, 3))
    return h, w, c


def _activation(rng: Rng) -> int:
    return int(rng.choice([0, 1, 2, 3]))


def _window(rng: Rng, dilated: bool) -> tuple[dict[str, int], tuple[int, int], tuple[int, int]]:
    """Options, window (kh, kw) and an input size (h, w) for which there is an output."""
    kernel = rng.integers(1, 6, 2)
    dilation = rng.integers(1, 4, 2) if dilated and rng.random() < 0.3 else np.ones(2, int)
    strides, padding = rng.integers(1, 4, 2), int(rng.integers(2))
    extent = (kernel - 1) * dilation + 1
    least = extent if padding == VALID else np.ones(2, int)
    size = least + rng.integers(0, 8, 2)
    options = {"Padding": padding, "StrideH": int(strides[0]), "StrideW": int(strides[1])}
    if dilated:
        options |= {"DilationHFactor": int(dilation[0]), "DilationWFactor": int(dilation[1])}
    return options, (int(kernel[0]), int(kernel[1])), (int(size[0]), int(size[1]))


def _out(options: dict[str, int], kernel: tuple[int, int], size: tuple[int, int]) -> list[int]:
    found = []
    for i, axis in enumerate("HW"):
        stride = options[f"Stride{axis}"]
        extent = (kernel[i] - 1) * options.get(f"Dilation{axis}Factor", 1) + 1
        usable = size[i] + stride - (1 if options["Padding"] == SAME else extent)
        found.append(usable // stride)
    return found


def _weighted(
    rng: Rng, source: T, shape: tuple[int, ...], axis: int, channels: int, *, bits: int = 8,
    per_channel: bool | None = None, biased: bool = True,
) -> tuple[T, T | None, float]:  # fmt: skip
    """Weights, perhaps a bias, and an output scale over which the results spread."""
    limit = 1 << (bits - 1)
    values = rng.integers(-limit, limit, shape).astype(np.int8)
    if rng.random() < 0.2:
        values[rng.random(shape) < 0.7] = 0
    many = bool(rng.integers(2)) if per_channel is None else per_channel
    scales = np.array([scale(rng, 1e-3, 1e-1) for _ in range(channels if many else 1)])
    weights = constant(values, scales, type="INT4" if bits == 4 else "INT8", axis=axis)
    taps = values.size / channels
    spread = max(70 * limit / 2 * np.sqrt(taps), 1.0)
    assert source.scale is not None
    unit = float(source.scale) * float(np.exp(np.log(scales).mean()))  # type: ignore[arg-type]
    bias = None
    if biased or rng.integers(2):
        data = rng.integers(-int(spread) - 1, int(spread) + 2, channels).astype(np.int32)
        bias = constant(data, np.float32(source.scale) * scales.astype(np.float32))
    return weights, bias, float(np.float32(unit * spread / 60 * rng.uniform(0.2, 4)))


def _finish(rng: Rng, source: T, weights: T, bias: T | None, out: T, op: Op) -> bytes:
    tensors = [source, weights, out, *([bias] if bias else [])]
    op.inputs = [0, 1, 3] if bias else ([0, 1, -1] if rng.integers(2) else [0, 1])
    op.outputs = [2]
    return write(tensors, [op], [0], [2])


def conv_2d(rng: Rng, bits: int = 8) -> bytes:
    options, kernel, size = _window(rng, dilated=True)
    ic, oc = (int(n) for n in rng.integers(1, 9, 2))
    source = tensor(rng, *size, ic)
    weights, bias, unit = _weighted(rng, source, (oc, *kernel, ic), 0, oc, bits=bits)
    out = T((1, *_out(options, kernel, size), oc), unit, zero(rng))
    options["FusedActivationFunction"] = _activation(rng)
    return _finish(rng, source, weights, bias, out, Op("CONV_2D", [], [], "Conv2DOptions", options))


def conv_2d_int4(rng: Rng) -> bytes:
    return conv_2d(rng, bits=4)


def depthwise_conv_2d(rng: Rng, bits: int = 8) -> bytes:
    options, kernel, size = _window(rng, dilated=True)
    ic, multiplier = int(rng.integers(1, 9)), int(rng.choice([1, 1, 2, 3]))
    source = tensor(rng, *size, ic)
    oc = ic * multiplier
    weights, bias, unit = _weighted(rng, source, (1, *kernel, oc), 3, oc, bits=bits)
    out = T((1, *_out(options, kernel, size), oc), unit, zero(rng))
    options |= {"FusedActivationFunction": _activation(rng), "DepthMultiplier": multiplier}
    op = Op("DEPTHWISE_CONV_2D", [], [], "DepthwiseConv2DOptions", options)
    return _finish(rng, source, weights, bias, out, op)


def depthwise_conv_2d_int4(rng: Rng) -> bytes:
    return depthwise_conv_2d(rng, bits=4)


def saturated_channels(rng: Rng) -> bytes:
    """A convolution with channels so far above the output's scale that their rescale leaves int32,
    and one of scale 0, as converters leave them where a channel is saturated or dead."""
    ic, oc = int(rng.integers(1, 9)), int(rng.integers(2, 9))
    source = tensor(rng, 2, 3, ic)
    weights, bias, unit = _weighted(rng, source, (oc, 1, 1, ic), 0, oc, per_channel=True)
    scales = np.asarray(weights.scale, np.float32)
    scales[0], scales[1] = np.float32(unit) * np.float32(2 ** rng.integers(8, 26)), 0
    weights.scale = scales  # type: ignore[assignment]
    out = T((1, 2, 3, oc), unit, zero(rng))
    options = {"Padding": VALID, "StrideH": 1, "StrideW": 1}
    return _finish(rng, source, weights, bias, out, Op("CONV_2D", [], [], "Conv2DOptions", options))


def fully_connected(rng: Rng, bits: int = 8, per_channel: bool = False) -> bytes:
    rows, ic, oc = (
        (1 if per_channel else int(rng.choice([1, 1, 1, 3]))),
        *(int(n) for n in rng.integers(1, 40, 2)),
    )
    keep = rows > 1
    source = tensor(rng, *((rows, ic) if keep else (ic,)))
    weights, bias, unit = _weighted(
        rng, source, (oc, ic), 0, oc, bits=bits, per_channel=per_channel, biased=False
    )
    out = T((1, rows, oc) if keep else (1, oc), unit, zero(rng))
    options = {"FusedActivationFunction": _activation(rng), "KeepNumDims": keep}
    op = Op("FULLY_CONNECTED", [], [], "FullyConnectedOptions", options)
    return _finish(rng, source, weights, bias, out, op)


def fully_connected_int4(rng: Rng) -> bytes:
    return fully_connected(rng, bits=4)


def fully_connected_per_channel(rng: Rng) -> bytes:
    return fully_connected(rng, per_channel=True)


def _pool(rng: Rng, code: str) -> bytes:
    options, kernel, size = _window(rng, dilated=False)
    source = tensor(rng, *size, int(rng.integers(1, 9)))
    out = T((1, *_out(options, kernel, size), source.shape[-1]), source.scale, source.zero)
    options |= {"FilterHeight": kernel[0], "FilterWidth": kernel[1],
                "FusedActivationFunction": _activation(rng)}  # fmt: skip
    return write([source, out], [Op(code, [0], [1], "Pool2DOptions", options)], [0], [1])


def average_pool_2d(rng: Rng) -> bytes:
    return _pool(rng, "AVERAGE_POOL_2D")


def max_pool_2d(rng: Rng) -> bytes:
    return _pool(rng, "MAX_POOL_2D")


def mean(rng: Rng) -> bytes:
    shape = (1, *_hwc(rng, 12))
    axes = [[1, 2], [1, 2], [2, 1], [-3, -2], [1], [2], [3], [-1], [1, 2, 3]][rng.integers(9)]
    keep = bool(rng.integers(2))
    kept = np.zeros(shape).mean(axis=tuple(axes), keepdims=keep).shape
    source = T(shape, scale(rng), zero(rng))
    out = T(kept, float(np.float32(source.scale) * rng.uniform(0.1, 2)), zero(rng))  # type: ignore[arg-type]
    op = Op("MEAN", [0, 1], [2], "ReducerOptions", {"KeepDims": keep})
    return write([source, _i32(*axes), out], [op], [0], [2])


def _binary(rng: Rng, code: str, table: str, ratio: Callable[[Rng, float, float], float]) -> bytes:
    """Two slices of the input, or one with a constant; equal shapes or broadcast ones."""
    h, w, c = _hwc(rng)
    shapes = [(h, w, c), (h, w, c), (1, 1, c), (c,), (1, w, 1), (1,)]
    other = shapes[rng.integers(len(shapes))]
    options = {"FusedActivationFunction": _activation(rng)} if table else {}
    a = T((1, h, w, c), scale(rng), zero(rng))
    if code in ("MINIMUM", "MAXIMUM"):
        b = T(a.shape, a.scale, a.zero)
        out_scale, out_zero = a.scale, a.zero
    else:
        b = T(a.shape, scale(rng), zero(rng))
        out_scale, out_zero = ratio(rng, a.scale, b.scale), zero(rng)  # type: ignore[arg-type]
    out = T((1, h, w, c), out_scale, out_zero)
    if rng.random() < 0.4:
        values = rng.integers(-128, 128, other).astype(np.int8)
        b = constant(values if len(other) != 3 else values[None], b.scale, b.zero)
        order = [1, 0] if rng.integers(2) else [0, 1]
        return write([a, b, out], [Op(code, order, [2], table, options)], [0], [2])
    source = T((1, h, w, 2 * c), scale(rng), zero(rng))
    b = T((1, *other) if len(other) == 3 else a.shape, b.scale, b.zero)
    _, rows, columns, channels = b.shape
    ends = [_i32(0, 0, 0, 0), _i32(1, h, w, c), _i32(0, 0, 0, c),
            _i32(1, rows, columns, c + channels), _i32(1, 1, 1, 1)]  # fmt: skip
    slices = [
        Op("STRIDED_SLICE", [0, 4, 5, 8], [1], "StridedSliceOptions"),
        Op("STRIDED_SLICE", [0, 6, 7, 8], [2], "StridedSliceOptions"),
    ]
    order = [2, 1] if rng.integers(2) else [1, 2]
    return write(
        [source, a, b, out, *ends], [*slices, Op(code, order, [3], table, options)], [0], [3]
    )


def add(rng: Rng) -> bytes:
    return _binary(rng, "ADD", "AddOptions", lambda r, a, b: max(a, b) * r.uniform(0.3, 2.5))


def sub(rng: Rng) -> bytes:
    return _binary(rng, "SUB", "SubOptions", lambda r, a, b: max(a, b) * r.uniform(0.3, 2.5))


def mul(rng: Rng) -> bytes:
    return _binary(rng, "MUL", "MulOptions", lambda r, a, b: a * b * 120 * r.uniform(0.02, 2))


def minimum(rng: Rng) -> bytes:
    return _binary(rng, "MINIMUM", "", lambda r, a, b: a)


def maximum(rng: Rng) -> bytes:
    return _binary(rng, "MAXIMUM", "", lambda r, a, b: a)


def pad(rng: Rng) -> bytes:
    shape = _hwc(rng, 6)
    pads = np.concatenate([np.zeros((1, 2), int), rng.integers(0, 4, (3, 2))])
    source = tensor(rng, *shape)
    out = T(tuple(int(n) for n in np.array(source.shape) + pads.sum(1)), source.scale, source.zero)
    tensors = [source, constant(pads.astype(np.int32)), out]
    if rng.integers(2):
        return write(tensors, [Op("PAD", [0, 1], [2], "PadOptions")], [0], [2])
    fill = constant(rng.integers(-128, 128, 1).astype(np.int8), source.scale, source.zero)
    return write([*tensors, fill], [Op("PADV2", [0, 1, 3], [2], "PadV2Options")], [0], [2])


def concatenation(rng: Rng) -> bytes:
    """The input, its maximum with a constant, and its reshape, along any axis."""
    h, w, c = _hwc(rng)
    axis = int(rng.choice([1, 2, 3, -1, -2, -3]))
    source = tensor(rng, h, w, c)
    parts = int(rng.integers(1, 4))
    fill = constant(
        rng.integers(-128, 128, (1, 1, 1, c)).astype(np.int8), source.scale, source.zero
    )
    tensors, ops = [source, fill], []
    for i in range(parts):
        tensors.append(T(source.shape, source.scale, source.zero))
        ops.append(Op("MAXIMUM" if i % 2 else "MINIMUM", [0, 1], [2 + i]))
    shape = list(source.shape)
    shape[axis] *= parts + 1
    tensors.append(T(tuple(shape), source.scale, source.zero))
    ops.append(Op("CONCATENATION", [0, *range(2, 2 + parts)], [2 + parts], "ConcatenationOptions",
                  {"Axis": axis}))  # fmt: skip
    return write(tensors, ops, [0], [2 + parts])


def _unary(code: str, table: str = "", **more: Callable[[Rng], Any]) -> Callable[[Rng], bytes]:
    def make(rng: Rng) -> bytes:
        source = tensor(rng, *_hwc(rng))
        out = T(source.shape, float(np.float32(source.scale) * rng.uniform(0.2, 2)), zero(rng))  # type: ignore[arg-type]
        options = {key: value(rng) for key, value in more.items()}
        return write([source, out], [Op(code, [0], [1], table, options)], [0], [1])

    return make


def _fixed(code: str, out_scale: float, out_zero: int) -> Callable[[Rng], bytes]:
    """LOGISTIC and TANH have one output scale."""

    def make(rng: Rng) -> bytes:
        source = tensor(rng, 1, 16, 16)
        out = T(source.shape, out_scale, out_zero)
        return write([source, out], [Op(code, [0], [1])], [0], [1])

    return make


def hard_swish(rng: Rng) -> bytes:
    source = T((1, 1, 16, 16), scale(rng, 1e-3, 1.0), zero(rng))
    out = T(source.shape, float(np.float32(source.scale) * rng.uniform(0.1, 2)), zero(rng))  # type: ignore[arg-type]
    return write([source, out], [Op("HARD_SWISH", [0], [1], "HardSwishOptions")], [0], [1])


def softmax(rng: Rng) -> bytes:
    shape = (int(rng.choice([1, 1, 3])), int(rng.integers(1, 50)))
    source = T((1, *shape) if shape[0] > 1 else (1, shape[1]), scale(rng, 1e-3, 1.0), zero(rng))
    out = T(source.shape, 1 / 256, -128)
    beta = float(rng.choice([1.0, 1.0, 0.5, 2.0]))
    return write(
        [source, out], [Op("SOFTMAX", [0], [1], "SoftmaxOptions", {"Beta": beta})], [0], [1]
    )


def resize_nearest_neighbor(rng: Rng) -> bytes:
    source = tensor(rng, *_hwc(rng))
    size = rng.integers(1, 16, 2)
    out = T((1, int(size[0]), int(size[1]), source.shape[3]), source.scale, source.zero)
    options = [{}, {"AlignCorners": True}, {"HalfPixelCenters": True}][rng.integers(3)]
    op = Op("RESIZE_NEAREST_NEIGHBOR", [0, 1], [2], "ResizeNearestNeighborOptions", options)
    return write([source, _i32(*size), out], [op], [0], [2])


def strided_slice(rng: Rng) -> bytes:
    shape = (1, *_hwc(rng))
    begin, end, stride, out = [0], [1], [1], [1]
    masks = {"BeginMask": 0, "EndMask": 0, "ShrinkAxisMask": 0}
    for i, n in enumerate(shape[1:], 1):
        first = int(rng.integers(n))
        last = int(rng.integers(first + 1, n + 1))
        step = int(rng.integers(1, 4))
        for mask, bit in (("BeginMask", rng.random() < 0.2), ("EndMask", rng.random() < 0.2)):
            masks[mask] |= int(bit) << i
        first = 0 if masks["BeginMask"] >> i & 1 else first
        last = n if masks["EndMask"] >> i & 1 else last
        if rng.random() < 0.15 and not masks["BeginMask"] >> i & 1:
            masks["ShrinkAxisMask"] |= 1 << i
            step = 1
        else:
            out.append(-(-(last - first) // step))
        begin.append(first - n if rng.integers(2) else first)
        end.append(last - n if rng.integers(2) and last < n else last)
        stride.append(step)
    source = T(shape, scale(rng), zero(rng))
    tensors = [
        source,
        _i32(*begin),
        _i32(*end),
        _i32(*stride),
        T(tuple(out), source.scale, source.zero),
    ]
    op = Op("STRIDED_SLICE", [0, 1, 2, 3], [4], "StridedSliceOptions", masks)
    return write(tensors, [op], [0], [4])


def split(rng: Rng) -> bytes:
    """Both ends of a split, added."""
    h, w, c = _hwc(rng, 6)
    parts, axis = int(rng.integers(2, 4)), int(rng.choice([3, -1, 1, 2]))
    shape = [1, h, w, c]
    each = tuple(shape)
    shape[axis] *= parts
    source = T(tuple(shape), scale(rng), zero(rng))
    out = T(each, source.scale, zero(rng))
    tensors = [source, _i32(axis), out, *(T(each, source.scale, source.zero) for _ in range(parts))]
    ops = [
        Op("SPLIT", [1, 0], list(range(3, 3 + parts)), "SplitOptions", {"NumSplits": parts}),
        Op("SUB", [3, 2 + parts], [2], "SubOptions"),
    ]
    return write(tensors, ops, [0], [2])


def views(rng: Rng) -> bytes:
    """RESHAPE, TRANSPOSE that moves axes of 1, EXPAND_DIMS and SQUEEZE in a row."""
    n, m = (int(v) for v in rng.integers(1, 8, 2))
    s = {"scale": scale(rng), "zero": zero(rng)}
    tensors = [
        T((1, n, 1, m), **s), _i32(0, 2, 1, 3), T((1, 1, n, m), **s), _i32(1, n * m),  # type: ignore[arg-type]
        T((1, n * m), **s), _i32(1), T((1, 1, n * m), **s), T((1, n * m), **s),  # type: ignore[arg-type]
    ]  # fmt: skip
    ops = [
        Op("TRANSPOSE", [0, 1], [2], "TransposeOptions"),
        Op("RESHAPE", [2, 3], [4], "ReshapeOptions"),
        Op("EXPAND_DIMS", [4, 5], [6], "ExpandDimsOptions"),
        Op("SQUEEZE", [6], [7], "SqueezeOptions"),
    ]
    return write(tensors, ops, [0], [7])


def split_dilation(rng: Rng) -> bytes:
    """A dilated convolution as converters leave it where the batch was open."""
    block = [int(n) for n in rng.integers(1, 4, 2)]
    kernel = [int(n) for n in rng.integers(1, 4, 2)]
    ic, multiplier = int(rng.integers(1, 5)), int(rng.choice([1, 2]))
    size, pads, crops, wide, out = [], [], [], [], []
    for k, d in zip(kernel, block, strict=True):
        before, after = (int(n) for n in rng.integers(0, min(4, (k - 1) * d + 1), 2))
        padded = ((k - 1) * d + int(rng.integers(before + after + 1, before + after + 9)) + d) // d
        size.append(padded * d - before - after)
        cut = [int(rng.integers(0, min(n, 2) + 1)) for n in (before, after)]
        pads, crops, wide = [*pads, before, after], [*crops, *cut], [*wide, padded]
        out.append((padded - k + 1) * d - sum(cut))
    source = tensor(rng, *size, ic)
    depthwise = bool(rng.integers(2))
    oc = ic * multiplier if depthwise else int(rng.integers(1, 6))
    shape = (1, *kernel, oc) if depthwise else (oc, *kernel, ic)
    weights, bias, unit = _weighted(rng, source, shape, 3 if depthwise else 0, oc)
    assert bias is not None
    batch, quantised = block[0] * block[1], {"scale": unit, "zero": zero(rng)}
    middle = [n - k + 1 for n, k in zip(wide, kernel, strict=True)]
    tensors = [
        source, T((batch, *wide, ic), source.scale, source.zero), weights, bias,
        T((batch, *middle, oc), **quantised), T((1, *out, oc), **quantised),  # type: ignore[arg-type]
        _i32(*block), constant(np.array(pads, np.int32).reshape(2, 2)),
        constant(np.array(crops, np.int32).reshape(2, 2)),
    ]  # fmt: skip
    options = {"Padding": VALID, "StrideH": 1, "StrideW": 1,
               "FusedActivationFunction": _activation(rng)}  # fmt: skip
    code, table = "CONV_2D", "Conv2DOptions"
    if depthwise:
        code, table = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
        options["DepthMultiplier"] = multiplier
    ops = [
        Op("SPACE_TO_BATCH_ND", [0, 6, 7], [1]),
        Op(code, [1, 2, 3], [4], table, options),
        Op("BATCH_TO_SPACE_ND", [4, 6, 8], [5]),
    ]
    return write(tensors, ops, [0], [5])


def shape_arithmetic(rng: Rng) -> bytes:
    """A matrix product over the last axis as converters leave it where the batch was open."""
    h, w, c = _hwc(rng, 6)
    source = tensor(rng, h, w, c)
    oc = int(rng.integers(1, 7))
    weights, bias, unit = _weighted(rng, source, (oc, c), 0, oc, per_channel=False)
    s, quantised = {"scale": source.scale, "zero": source.zero}, {"scale": unit, "zero": zero(rng)}
    tensors = [
        source, T((4,), type="INT32"), _i32(0, 1, 2), T((3,), type="INT32"), _i32(0),
        T((), type="INT32"), constant(np.array(c, np.int32)), T((2,), type="INT32"),
        T((1, 1), **s), weights, T((1, oc), **quantised), _i32(3), T((1,), type="INT32"),  # type: ignore[arg-type]
        T((), type="INT32"), _i32(1), _i32(1), T((3,), type="INT32"),
        T((1, h * w, oc), **quantised), constant(np.array(h * w, np.int32)),  # type: ignore[arg-type]
        constant(np.array(oc, np.int32)), _i32(0), *([bias] if bias else []),
    ]  # fmt: skip
    ops = [
        Op("SHAPE", [0], [1], "ShapeOptions", {"OutType": 2}),
        Op("GATHER", [1, 2], [3], "GatherOptions"),
        Op("REDUCE_PROD", [3, 4], [5], "ReducerOptions"),
        Op("PACK", [5, 6], [7], "PackOptions", {"ValuesCount": 2}),
        Op("RESHAPE", [0, 7], [8]),
        Op("FULLY_CONNECTED", [8, 9, 21] if bias else [8, 9], [10], "FullyConnectedOptions"),
        Op("STRIDED_SLICE", [1, 20, 14, 15], [13], "StridedSliceOptions", {"ShrinkAxisMask": 1}),
        Op("PACK", [13, 18, 19], [16], "PackOptions", {"ValuesCount": 3}),
        Op("RESHAPE", [10, 16], [17]),
    ]
    return write(tensors, ops, [0], [17])


def edges(rng: Rng) -> bytes:
    """uint8 or float32 in and out, with QUANTIZE and DEQUANTIZE there."""
    shape = (1, int(rng.integers(1, 40)))
    x, y = T(shape, scale(rng), zero(rng)), T(shape, scale(rng), zero(rng))
    y = T(shape, float(np.float32(x.scale) * rng.uniform(0.3, 3)), zero(rng))  # type: ignore[arg-type]
    if rng.integers(2):
        first, last = T(shape, type="FLOAT32"), T(shape, type="FLOAT32")
        codes = ("QUANTIZE", "DEQUANTIZE")
    else:
        equal = bool(rng.integers(2))
        first = T(shape, x.scale if equal else scale(rng), int(x.zero) + 128, "UINT8")  # type: ignore[arg-type]
        last = T(shape, y.scale if equal else scale(rng), int(y.zero) + 128, "UINT8")  # type: ignore[arg-type]
        codes = ("QUANTIZE", "QUANTIZE")
    ops = [Op(codes[0], [0], [1]), Op("RELU", [1], [2]), Op(codes[1], [2], [3])]
    return write([first, x, y, last], ops, [0], [3])


CASES: Mapping[str, Callable[[Rng], bytes]] = {
    "CONV_2D": conv_2d,
    "CONV_2D int4": conv_2d_int4,
    "CONV_2D saturated": saturated_channels,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "DEPTHWISE_CONV_2D int4": depthwise_conv_2d_int4,
    "FULLY_CONNECTED": fully_connected,
    "FULLY_CONNECTED per channel": fully_connected_per_channel,
    "FULLY_CONNECTED int4": fully_connected_int4,
    "AVERAGE_POOL_2D": average_pool_2d,
    "MAX_POOL_2D": max_pool_2d,
    "MEAN": mean,
    "ADD": add,
    "SUB": sub,
    "MUL": mul,
    "MINIMUM": minimum,
    "MAXIMUM": maximum,
    "PAD": pad,
    "CONCATENATION": concatenation,
    "SOFTMAX": softmax,
    "LOGISTIC": _fixed("LOGISTIC", 1 / 256, -128),
    "TANH": _fixed("TANH", 1 / 128, 0),
    "RELU": _unary("RELU"),
    "RELU6": _unary("RELU6"),
    "RELU_N1_TO_1": _unary("RELU_N1_TO_1"),
    "LEAKY_RELU": _unary(
        "LEAKY_RELU", "LeakyReluOptions", Alpha=lambda rng: float(rng.uniform(-0.5, 1.5))
    ),
    "HARD_SWISH": hard_swish,
    "QUANTIZE": _unary("QUANTIZE"),
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
    "STRIDED_SLICE": strided_slice,
    "SPLIT": split,
    "RESHAPE SQUEEZE TRANSPOSE": views,
    "SPACE_TO_BATCH_ND, convolution": split_dilation,
    "SHAPE, PACK, GATHER": shape_arithmetic,
    "uint8 and float edges": edges,
    **tflite_lowered_cases.CASES,
}
