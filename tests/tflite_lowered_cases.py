"""Random models of operators that are several nodes of the Graph, or move values.

In: a seeded generator. Out: the file, as those of ``tflite_cases``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.tflite_models import Op, T, constant, write

Rng = np.random.Generator
SAME, VALID = 0, 1


def _scale(rng: Rng, low: float = 1e-3, high: float = 0.5) -> float:
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def _zero(rng: Rng) -> int:
    return int(rng.choice([-128, 127, 0, rng.integers(-128, 128), rng.integers(-128, 128)]))


def _i32(*values: int) -> T:
    return constant(np.array(values, np.int32))


def _shape(rng: Rng, rank: int, high: int = 7) -> tuple[int, ...]:
    return (1, *(int(n) for n in rng.integers(1, high, rank - 1)))


def _like(source: T, shape: Any) -> T:
    return T(tuple(int(n) for n in shape), source.scale, source.zero)


def _source(rng: Rng, *shape: int) -> T:
    return T(tuple(int(n) for n in shape), _scale(rng), _zero(rng))


def transpose(rng: Rng) -> bytes:
    source = _source(rng, *_shape(rng, int(rng.integers(2, 6)), 6))
    order = [int(p) for p in rng.permutation(len(source.shape))]
    out = _like(source, [source.shape[p] for p in order])
    op = Op("TRANSPOSE", [0, 1], [2], "TransposeOptions")
    return write([source, _i32(*order), out], [op], [0], [2])


def tile(rng: Rng) -> bytes:
    source = _source(rng, *_shape(rng, int(rng.integers(1, 5))))
    times = [int(n) for n in rng.integers(1, 4, len(source.shape))]
    out = _like(source, np.array(source.shape) * times)
    return write([source, _i32(*times), out], [Op("TILE", [0, 1], [2], "TileOptions")], [0], [2])


def broadcast_to(rng: Rng) -> bytes:
    wanted = (1, *_shape(rng, int(rng.integers(1, 4)))[1:], int(rng.integers(1, 7)))
    shape = [n if rng.integers(2) else 1 for n in wanted]
    source = _source(rng, *shape)
    op = Op("BROADCAST_TO", [0, 1], [2], "BroadcastToOptions", version=2)
    return write([source, _i32(*wanted), _like(source, wanted)], [op], [0], [2])


def blocks(rng: Rng) -> bytes:
    """SPACE_TO_DEPTH, or DEPTH_TO_SPACE."""
    block = int(rng.integers(1, 4))
    h, w, c = (int(n) for n in rng.integers(1, 5, 3))
    wide, deep = (1, h * block, w * block, c), (1, h, w, c * block * block)
    code, shape, made = [("SPACE_TO_DEPTH", wide, deep), ("DEPTH_TO_SPACE", deep, wide)][
        rng.integers(2)
    ]
    table = "SpaceToDepthOptions" if code == "SPACE_TO_DEPTH" else "DepthToSpaceOptions"
    source = _source(rng, *shape)
    op = Op(code, [0], [1], table, {"BlockSize": block})
    return write([source, _like(source, made)], [op], [0], [1])


def batches(rng: Rng) -> bytes:
    """SPACE_TO_BATCH_ND, RELU, BATCH_TO_SPACE_ND, with three axes or four."""
    spatial = int(rng.integers(1, 3))
    block = rng.integers(1, 4, spatial)
    pads = rng.integers(0, 3, (spatial, 2))
    sizes = [int(n) for n in rng.integers(2, 8, spatial)]
    for i in range(spatial):
        pads[i, 1] += -(sizes[i] + pads[i].sum()) % block[i]
    crops = [[int(rng.integers(0, p + 1)) for p in row] for row in pads.tolist()]
    depth = int(rng.integers(1, 5))
    source = _source(rng, 1, *sizes, depth)
    wide = np.array(sizes) + pads.sum(1)
    middle = (int(block.prod()), *(wide // block), depth)
    active = T(tuple(int(n) for n in middle), _scale(rng), _zero(rng))
    out = _like(active, (1, *(wide - np.array(crops).sum(1)), depth))
    tensors = [
        source, _i32(*block), constant(pads.astype(np.int32)), _like(source, middle), active,
        constant(np.array(crops, np.int32)), out,
    ]  # fmt: skip
    ops = [
        Op("SPACE_TO_BATCH_ND", [0, 1, 2], [3], "SpaceToBatchNDOptions"),
        Op("RELU", [3], [4]),
        Op("BATCH_TO_SPACE_ND", [4, 1, 5], [6], "BatchToSpaceNDOptions"),
    ]
    return write(tensors, ops, [0], [6])


def causal(rng: Rng) -> bytes:
    """A dilated Conv1D as Keras writes it: EXPAND_DIMS and SQUEEZE between the batches."""
    dilation, kernel = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    length, ic, oc = (int(n) for n in rng.integers(1, 7, 3))
    before = (kernel - 1) * dilation
    total = before + length
    after = -total % dilation
    wide = (total + after) // dilation
    source = _source(rng, 1, length, ic)
    weights = constant(
        rng.integers(-128, 128, (oc, 1, kernel, ic)).astype(np.int8),
        np.array([_scale(rng, 1e-3, 1e-1) for _ in range(oc)]),
    )
    spread = 70 * 64 * np.sqrt(kernel * ic)
    bias = constant(rng.integers(-int(spread), int(spread), oc).astype(np.int32), 0.01)
    unit = float(np.float32(float(source.scale) * 1e-2 * spread / 60))  # type: ignore[arg-type]
    left = wide - kernel + 1
    result = {"scale": unit, "zero": _zero(rng)}
    tensors = [
        source, _i32(dilation), constant(np.array([[before, after]], np.int32)),
        _like(source, (dilation, wide, ic)), _i32(1), _like(source, (dilation, 1, wide, ic)),
        weights, bias, T((dilation, 1, left, oc), **result), T((dilation, left, oc), **result),  # type: ignore[arg-type]
        constant(np.array([[0, left * dilation - length]], np.int32)),
        T((1, length, oc), **result),  # type: ignore[arg-type]
    ]  # fmt: skip
    options = {"Padding": VALID, "StrideH": 1, "StrideW": 1}
    ops = [
        Op("SPACE_TO_BATCH_ND", [0, 1, 2], [3], "SpaceToBatchNDOptions"),
        Op("EXPAND_DIMS", [3, 4], [5], "ExpandDimsOptions"),
        Op("CONV_2D", [5, 6, 7], [8], "Conv2DOptions", options),
        Op("SQUEEZE", [8], [9], "SqueezeOptions", {"SqueezeDims": [1]}),
        Op("BATCH_TO_SPACE_ND", [9, 1, 10], [11], "BatchToSpaceNDOptions"),
    ]
    return write(tensors, ops, [0], [11])


def gather(rng: Rng) -> bytes:
    source = _source(rng, *_shape(rng, 4))
    axis = int(rng.integers(1, 4))
    picked = rng.integers(0, source.shape[axis], int(rng.integers(1, 9))).astype(np.int32)
    out = _like(source, (*source.shape[:axis], len(picked), *source.shape[axis + 1 :]))
    given = axis - 4 if rng.integers(2) else axis
    op = Op("GATHER", [0, 1], [2], "GatherOptions", {"Axis": given})
    return write([source, constant(picked), out], [op], [0], [2])


def split_v(rng: Rng) -> bytes:
    """The parts of a split, turned around."""
    sizes = [int(n) for n in rng.integers(1, 4, rng.integers(1, 4))]
    shape, axis = list(_shape(rng, 4)), int(rng.integers(1, 4))
    shape[axis] = sum(sizes)
    source = _source(rng, *shape)
    listed = list(sizes)
    if rng.integers(2):
        listed[rng.integers(len(listed))] = -1
    parts = [_like(source, (*shape[:axis], n, *shape[axis + 1 :])) for n in sizes]
    tensors = [source, _i32(*listed), _i32(axis - 4 if rng.integers(2) else axis), source, *parts]
    made = list(range(4, 4 + len(parts)))
    tensors[3] = _like(source, shape)
    ops = [
        Op("SPLIT_V", [0, 1, 2], made, "SplitVOptions", {"NumSplits": len(parts)}),
        Op("CONCATENATION", made[::-1], [3], "ConcatenationOptions", {"Axis": axis}),
    ]
    return write(tensors, ops, [0], [3])


def unpack(rng: Rng) -> bytes:
    """UNPACK, and PACK of its outputs along another axis."""
    shape, axis = _shape(rng, 4, 5), int(rng.integers(1, 4))
    source = _source(rng, *shape)
    count, rest = shape[axis], (*shape[:axis], *shape[axis + 1 :])
    other = int(rng.integers(0, 4))
    made = list(range(2, 2 + count))
    out = _like(source, (*rest[:other], count, *rest[other:]))
    ops = [
        Op("UNPACK", [0], made, "UnpackOptions", {"Num": count, "Axis": axis}),
        Op("PACK", made, [1], "PackOptions", {"ValuesCount": count, "Axis": other}),
    ]
    return write([source, out, *(_like(source, rest) for _ in made)], ops, [0], [1])


def reduced(code: str) -> Callable[[Rng], bytes]:
    """REDUCE_MAX or REDUCE_MIN over any axes."""

    def make(rng: Rng) -> bytes:
        source = _source(rng, *_shape(rng, 4, 9))
        some = [i for i in range(1, 4) if rng.integers(2)] or [3]
        axes = [i - 4 if rng.integers(2) else i for i in rng.permutation(some).tolist()]
        keep = bool(rng.integers(2))
        made = np.zeros(source.shape).max(axis=tuple(axes), keepdims=keep).shape
        op = Op(code, [0, 1], [2], "ReducerOptions", {"KeepDims": keep})
        return write([source, _i32(*axes), _like(source, made)], [op], [0], [2])

    return make


def prelu(rng: Rng) -> bytes:
    h, w, c = (int(n) for n in rng.integers(1, 8, 3))
    source = _source(rng, 1, h, w, c)
    shape = [(1, 1, c), (h, w, c), (1, 1, 1)][rng.integers(3)]
    slopes = constant(
        rng.integers(-128, 128, shape).astype(np.int8), _scale(rng, 1e-3, 2e-2), _zero(rng)
    )
    out = T(source.shape, float(np.float32(source.scale) * rng.uniform(0.3, 2)), _zero(rng))  # type: ignore[arg-type]
    return write([source, slopes, out], [Op("PRELU", [0, 1], [2])], [0], [2])


def resize_bilinear(rng: Rng) -> bytes:
    source = _source(rng, *_shape(rng, 4, 9))
    size = rng.integers(1, 16, 2)
    out = _like(source, (1, *size, source.shape[3]))
    options = [{}, {"AlignCorners": True}, {"HalfPixelCenters": True}][rng.integers(3)]
    op = Op("RESIZE_BILINEAR", [0, 1], [2], "ResizeBilinearOptions", options)
    return write([source, _i32(*size), out], [op], [0], [2])


def _filters(
    rng: Rng, source: T, shape: tuple[int, ...], oc: int, axis: int = 0
) -> tuple[T, T, float]:
    """Weights with a scale for each channel, a bias, and an output scale that fits."""
    scales = np.array([_scale(rng, 1e-3, 1e-1) for _ in range(oc)])
    values = rng.integers(-128, 128, shape).astype(np.int8)
    spread = max(70 * 64 * math.sqrt(values.size / oc), 1.0)
    data = rng.integers(-int(spread) - 1, int(spread) + 2, oc).astype(np.int32)
    unit = float(source.scale) * float(np.exp(np.log(scales).mean()))  # type: ignore[arg-type]
    bias = constant(data, np.float32(source.scale) * scales.astype(np.float32))
    return (constant(values, scales, axis=axis), bias,
            float(np.float32(unit * spread / 60 * rng.uniform(0.3, 3))))  # fmt: skip


def grouped(rng: Rng) -> bytes:
    """A convolution whose filters see a part of the channels each."""
    groups, depth, each = (int(n) for n in rng.integers(1, 4, 3))
    groups += 1
    size, k = int(rng.integers(3, 7)), int(rng.integers(1, 4))
    source = _source(rng, 1, size, size, groups * depth)
    weights, bias, unit = _filters(rng, source, (groups * each, k, k, depth), groups * each)
    out = T((1, size, size, groups * each), unit, _zero(rng))
    options = {"Padding": SAME, "StrideH": 1, "StrideW": 1,
               "FusedActivationFunction": int(rng.integers(4))}  # fmt: skip
    op = Op("CONV_2D", [0, 1, 2], [3], "Conv2DOptions", options)
    return write([source, weights, bias, out], [op], [0], [3])


def transpose_conv(rng: Rng) -> bytes:
    ic, oc, h, w = (int(n) for n in rng.integers(1, 5, 4))
    strides, kernel = rng.integers(1, 4, 2), rng.integers(1, 5, 2)
    padding = int(rng.integers(2))
    size = [n * s + (max(k - s, 0) if padding == VALID else 0)
            for n, s, k in zip((h, w), strides.tolist(), kernel.tolist(), strict=True)]  # fmt: skip
    source = _source(rng, 1, h, w, ic)
    weights, bias, unit = _filters(rng, source, (oc, *kernel.tolist(), ic), oc)
    out = T((1, *size, oc), unit, _zero(rng))
    options = {"Padding": padding, "StrideH": int(strides[0]), "StrideW": int(strides[1])}
    biased = bool(rng.integers(2))
    op = Op("TRANSPOSE_CONV", [1, 2, 0, 3] if biased else [1, 2, 0], [4], "TransposeConvOptions",
            options, 3 if biased else 1)  # fmt: skip
    return write([source, _i32(1, *size, oc), weights, bias, out], [op], [0], [4])


def several_samples(rng: Rng) -> bytes:
    """A batch of more than one, cut out of the input, through layers that see one sample each."""
    batch, size, c = int(rng.integers(2, 4)), int(rng.integers(3, 6)), int(rng.integers(1, 4))
    source = _source(rng, 1, batch * size, size, c)
    weights, bias, unit = _filters(rng, source, (3, 2, 3, c), 3)
    shape = (batch, size, size, 3)
    made = T(shape, unit, _zero(rng))
    tensors = [
        source, _i32(batch, size, size, c), _like(source, (batch, size, size, c)), weights, bias,
        made, _like(made, (batch, size // 2, size // 2, 3)),
        T((batch, size // 2, size // 2, 3), float(np.float32(unit) * rng.uniform(0.5, 2)),
          _zero(rng)),
    ]  # fmt: skip
    window = {"Padding": SAME, "StrideH": 1, "StrideW": 1}
    pool = {"Padding": VALID, "StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
    code = ["MAX_POOL_2D", "AVERAGE_POOL_2D"][rng.integers(2)]
    ops = [
        Op("RESHAPE", [0, 1], [2], "ReshapeOptions"),
        Op("CONV_2D", [2, 3, 4], [5], "Conv2DOptions", window),
        Op(code, [5], [6], "Pool2DOptions", pool),
        Op("RELU", [6], [7]),
    ]
    return write(tensors, ops, [0], [7])


def backwards(rng: Rng) -> bytes:
    """STRIDED_SLICE with strides below 0."""
    shape = _shape(rng, 4, 8)
    begin, end, stride, out = [0], [1], [1], [1]
    mask = 1
    for i, n in enumerate(shape[1:], 1):
        first = int(rng.integers(n))
        last = int(rng.integers(-1, first))
        step = int(rng.integers(1, 4))
        if rng.integers(2):
            begin, end, stride = [*begin, first], [*end, max(last, 0)], [*stride, -step]
            mask |= int(last < 0) << i
            out.append(-(-(first - last) // step))
        else:
            begin, end, stride = [*begin, 0], [*end, n], [*stride, step]
            out.append(-(-n // step))
    source = _source(rng, *shape)
    tensors = [source, _i32(*begin), _i32(*end), _i32(*stride), _like(source, out)]
    op = Op("STRIDED_SLICE", [0, 1, 2, 3], [4], "StridedSliceOptions", {"EndMask": mask})
    return write(tensors, [op], [0], [4])


def unary(code: str, table: str = "", **more: Callable[[Rng], Any]) -> Callable[[Rng], bytes]:
    """A function of one value, of all codes."""

    def make(rng: Rng) -> bytes:
        source = T((1, 1, 16, 16), _scale(rng, 1e-3, 0.1), _zero(rng))
        scale = float(np.float32(source.scale) * rng.uniform(0.2, 2))  # type: ignore[arg-type]
        out = T(source.shape, scale, _zero(rng))
        options = {key: value(rng) for key, value in more.items()}
        return write([source, out], [Op(code, [0], [1], table, options)], [0], [1])

    return make


def rsqrt(rng: Rng) -> bytes:
    """Every code from the zero point on is 0 or more, which the reference asks for; the scale of
    the output puts the root of a value between the least and the largest code."""
    source = T((1, 1, 16, 16), _scale(rng, 1e-4, 2.0), -128)
    middle = 1 / np.sqrt(source.scale * rng.integers(1, 256))
    out = T(source.shape, float(np.float32(middle / rng.uniform(2, 200))), _zero(rng))
    return write([source, out], [Op("RSQRT", [0], [1])], [0], [1])


CASES: Mapping[str, Callable[[Rng], bytes]] = {
    "TRANSPOSE": transpose,
    "TILE": tile,
    "BROADCAST_TO": broadcast_to,
    "SPACE_TO_DEPTH DEPTH_TO_SPACE": blocks,
    "SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND": batches,
    "SPACE_TO_BATCH_ND, Conv1D": causal,
    "GATHER": gather,
    "SPLIT_V": split_v,
    "UNPACK PACK": unpack,
    "REDUCE_MAX": reduced("REDUCE_MAX"),
    "REDUCE_MIN": reduced("REDUCE_MIN"),
    "PRELU": prelu,
    "RESIZE_BILINEAR": resize_bilinear,
    "CONV_2D grouped": grouped,
    "TRANSPOSE_CONV": transpose_conv,
    "several samples": several_samples,
    "STRIDED_SLICE backwards": backwards,
    "ABS": unary("ABS", "AbsOptions"),
    "EXP": unary("EXP", "ExpOptions"),
    "LOG": unary("LOG"),
    "RSQRT": rsqrt,
    "ELU": unary("ELU"),
    "GELU": unary("GELU", "GeluOptions", Approximate=lambda rng: bool(rng.integers(2))),
}
