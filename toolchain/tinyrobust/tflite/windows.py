"""TensorFlow Lite's operators with weights or windows as nodes of ``graph/int8.py``.

In: an operator in its Context. Out: the node; Unsupported with the reason where there is none.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import int8
from tinyrobust.graph.base import Node, aligned
from tinyrobust.tflite import arithmetic
from tinyrobust.tflite.context import (
    MAX_AXES,
    Context,
    Unsupported,
    activations,
    graph_shape,
    integers,
    plain,
    position,
    quote,
    same_quantisation,
    scale_of,
)
from tinyrobust.tflite.file import FileTensor
from tinyrobust.tflite.steps import Steps

_SAME, _VALID = 0, 1
MAX_SAMPLES = 32  # each is a layer of its own


def _weights(
    context: Context, rank: int, axis: int
) -> tuple[FileTensor, npt.NDArray[np.int8], int]:
    """Input 1: its tensor, its values, and the bits of a weight."""
    tensor = context.tensor(1)
    if tensor.type not in ("INT8", "INT4") or not tensor.constant:
        what = tensor.type if tensor.constant else "computed"
        raise Unsupported(f"weights {quote(tensor)} are {what}; need a constant of INT8 or INT4")
    if len(tensor.shape) != rank:
        raise Unsupported(f"weights {quote(tensor)} have shape {tensor.shape}, need {rank} axes")
    if not tensor.scales or any(tensor.zero_points):
        raise Unsupported(f"weights {quote(tensor)} need scales, and zero points of 0")
    if len(tensor.scales) > 1 and tensor.axis != axis:
        raise Unsupported(f"weights {quote(tensor)} are quantised along axis {tensor.axis}")
    if tensor.size == 0:
        raise Unsupported(f"weights {quote(tensor)} have no elements: shape {tensor.shape}")
    return tensor, tensor.values.astype(np.int8, copy=False), 4 if tensor.type == "INT4" else 8


def _finish(
    context: Context, weights: FileTensor, bits: int, channels: int,
    scale: Callable[[float, float, float], float], data: int = 0, bias: int = 2,
) -> dict[str, Any]:  # fmt: skip
    """The fields of ``Weighted`` but the weights; ``data`` and ``bias``: which inputs they are."""
    source, out = context.tensor(data), context.output()
    activations(source, out)
    (in_scale, in_zero), (out_scale, out_zero) = scale_of(source), scale_of(out)
    scales = weights.scales if len(weights.scales) > 1 else weights.scales * channels
    if len(scales) != channels:
        raise Unsupported(f"weights {quote(weights)} have {len(scales)} scales, need {channels}")
    pairs = [arithmetic.quantize_multiplier(scale(in_scale, s, out_scale)) for s in scales]
    lo, hi = context.activation(0 if data else None)
    return {
        "bias": _bias(context, channels, bias),
        "multipliers": np.array([m for m, _ in pairs], np.int32),
        "shifts": np.array([s for _, s in pairs], np.int32),
        "input_zero": in_zero, "output_zero": out_zero, "lo": lo, "hi": hi, "weight_bits": bits,
    }  # fmt: skip


def _bias(context: Context, channels: int, at: int) -> npt.NDArray[np.int32]:
    tensor = context.optional(at)
    if tensor is None:
        return np.zeros(channels, np.int32)
    if tensor.type != "INT32" or not tensor.constant or tensor.size != channels:
        raise Unsupported(f"bias {quote(tensor)} must be a constant of INT32, {channels} of them")
    return tensor.values.reshape(-1).astype(np.int32)


def _window(context: Context, source: FileTensor, kernel: tuple[int, int]) -> dict[str, Any]:
    """strides, dilations and pads from the options; SAME and VALID as TensorFlow computes them."""
    if len(source.shape) != 4:
        raise Unsupported(f"{quote(source)} has shape {source.shape}, need (1, H, W, C)")
    padding = context.option("Padding")
    strides = context.option("StrideH"), context.option("StrideW")
    dilations = context.option("DilationHFactor", 1), context.option("DilationWFactor", 1)
    if padding not in (_SAME, _VALID) or min(*strides, *dilations, *kernel) < 1:
        raise Unsupported(
            f"has padding {padding}, strides {strides}, dilations {dilations}, window {kernel}"
        )
    pads: Any = []
    for size, k, stride, dilation in zip(
        source.shape[1:3], kernel, strides, dilations, strict=True
    ):
        extent = (k - 1) * dilation + 1
        out = (size + stride - 1) // stride
        total = max((out - 1) * stride + extent - size, 0) if padding == _SAME else 0
        pads += [total // 2, total - total // 2]
    pads = context.operator.options.get("Pads", tuple(pads))
    return {"strides": strides, "dilations": dilations, "pads": pads}


def conv_2d(context: Context) -> Node | list[Node]:
    context.arity((2, 3))
    tensor, weights, bits = _weights(context, 4, 0)
    source = context.tensor(0)
    channels, height, width, depth = weights.shape
    window = _window(context, source, (height, width))
    groups = source.shape[3] // depth
    if source.shape[3] % depth or groups < 1 or channels % groups:
        raise Unsupported(
            f"weights of shape {tensor.shape} for {quote(source)} {source.shape}: the channels are "
            "no whole number of groups"
        )
    node = int8.Conv2DInt8(
        **context.edges(source), weights=weights,
        **_finish(context, tensor, bits, channels, arithmetic.product_scale), **window,
    )  # fmt: skip
    if groups == 1:
        return _each_sample(context, node, height)
    if not plain(source):
        raise Unsupported(f"has {groups} groups on several samples, {source.shape}")
    return _grouped(context, node, groups)


def _grouped(context: Context, node: int8.Conv2DInt8, groups: int) -> list[Node]:
    """A convolution of each part of the channels with its own filters, side by side."""
    steps, source, shape = Steps(context), context.tensor(0), graph_shape(context.output())
    depth, each = node.weights.shape[3], len(node.weights) // groups
    height, width, _ = aligned(graph_shape(source))
    names = []
    for group in range(groups):
        own = slice(group * each, (group + 1) * each)
        part = steps.add(int8.StridedSliceInt8, [steps.read(source)], (height, width, depth),
                         source, begin=(0, 0, group * depth))  # fmt: skip
        fields = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)
                  if f.name not in ("name", "inputs", "output")}  # fmt: skip
        fields |= {name: fields[name][own] for name in
                   ("weights", "bias", "multipliers", "shifts")}  # fmt: skip
        names.append(steps.add(int8.Conv2DInt8, [part], (*aligned(shape)[:2], each), **fields))
    steps.add(int8.ConcatInt8, names, shape, axis=2)
    return steps.done()


def _each_sample(context: Context, node: Any, rows: int = 0) -> Node | list[Node]:
    """``node`` on every sample of a batch; itself where there is one, or where samples below each
    other are as good (``rows``: of its window, 1 where it never sees two of them)."""
    source, out = context.tensor(0), context.output()
    beside = rows == 1 and node.strides[0] == 1 and not any(node.pads[:2])
    if plain(source) or beside:
        return node  # type: ignore[no-any-return]
    samples = math.prod(source.shape[:-MAX_AXES])
    if samples > MAX_SAMPLES or out.shape[0] != samples:
        raise Unsupported(f"has {samples} samples, {source.shape}; at most {MAX_SAMPLES}")
    steps, shape = Steps(context), source.shape[-MAX_AXES:]
    whole = steps.view(steps.read(source), (samples * shape[0], *shape[1:]), source)
    made = out.shape[1:]
    fields = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)
              if f.name not in ("name", "inputs", "output")}  # fmt: skip
    names = []
    for sample in range(samples):
        one = steps.add(int8.StridedSliceInt8, [whole], shape, source,
                        begin=(sample * shape[0], 0, 0))  # fmt: skip
        result = steps.add(type(node), [one], made, **fields)
        names.append(steps.view(result, (1, 1, math.prod(made))))
    steps.add(int8.ConcatInt8, names, (samples, 1, math.prod(made)), axis=0)
    return steps.finish(steps.nodes[-1].output)


def transpose_conv(context: Context) -> Node | list[Node]:
    """A convolution of the input with zeros between its pixels, by the filter turned around."""
    context.arity((3, 4))
    tensor, source, out = context.tensor(1), context.tensor(2), context.output()
    _, weights, bits = _weights(context, 4, 0)
    channels, *kernel, depth = weights.shape
    if not plain(source) or len(source.shape) != 4 or len(out.shape) != 4:
        raise Unsupported(f"{quote(source)} has shape {source.shape}, need (1, H, W, C)")
    if tuple(integers(context.tensor(0), 4)) != out.shape or source.shape[3] != depth:
        raise Unsupported(f"makes {out.shape} of {source.shape} by weights {tensor.shape}")
    padding, strides = context.option("Padding"), (context.option("StrideH"),
                                                   context.option("StrideW"))  # fmt: skip
    if padding not in (_SAME, _VALID) or min(*strides, *kernel) < 1:
        raise Unsupported(f"has padding {padding}, strides {strides}, window {kernel}")
    pads: list[int] = []
    for size, made, k, stride in zip(
        source.shape[1:3], out.shape[1:3], kernel, strides, strict=True
    ):
        total = max((-(-made // stride) - 1) * stride + k - made, 0) if padding == _SAME else 0
        before = k - 1 - total // 2
        pads += [before, made + k - 1 - before - size * stride]
    if min(pads) < 0:
        raise Unsupported(f"makes {out.shape} of {source.shape} with strides {strides}")
    steps, (_, height, width, _) = Steps(context), source.shape
    name, zero = steps.read(source), scale_of(source)[1]
    for axis, (outer, inner) in enumerate(((height, width * depth), (height * strides[0] * width,
                                                                       depth))):  # fmt: skip
        if strides[axis] > 1:  # rows of zeros below rows, then columns behind columns
            name = steps.view(name, (outer, 1, inner), source)
            name = steps.add(int8.PadInt8, [name], (outer, strides[axis], inner), source,
                             after=(0, strides[axis] - 1, 0), value=zero)  # fmt: skip
    shape = height * strides[0], width * strides[1], depth
    name = steps.view(name, shape, source)
    turned = np.ascontiguousarray(weights[:, ::-1, ::-1])
    steps.add(
        int8.Conv2DInt8, [name], graph_shape(out), weights=turned, pads=tuple(pads),
        **_finish(context, tensor, bits, channels, arithmetic.product_scale, data=2, bias=3),
    )  # fmt: skip
    return steps.done()


def depthwise_conv_2d(context: Context) -> Node | list[Node]:
    context.arity((2, 3))
    tensor, weights, bits = _weights(context, 4, 3)
    source = context.tensor(0)
    one, height, width, channels = weights.shape
    if one != 1 or len(source.shape) != 4 or channels % source.shape[3]:
        raise Unsupported(f"weights of shape {tensor.shape} for {quote(source)} {source.shape}")
    node = int8.DepthwiseConv2DInt8(
        **context.edges(source), weights=weights[0],
        **_finish(context, tensor, bits, channels, arithmetic.product_scale),
        **_window(context, source, (height, width)),
        depth_multiplier=channels // source.shape[3],
    )  # fmt: skip
    return _each_sample(context, node, height)


def fully_connected(context: Context) -> Node:
    context.arity((2, 3))
    tensor, weights, bits = _weights(context, 2, 0)
    if context.option("WeightsFormat", 0):
        raise Unsupported("has shuffled weights")
    source, (outputs, depth) = context.tensor(0), weights.shape
    if source.size % depth:
        raise Unsupported(f"weights take {depth} inputs, {quote(source)} has {source.shape}")
    keep = bool(context.option("KeepNumDims", False))
    context.expect((*(source.shape[:-1] if keep else (source.size // depth,)), outputs))
    per_channel = len(tensor.scales) > 1
    scale = arithmetic.product_scale if per_channel else arithmetic.dense_scale
    return int8.DenseInt8(
        **context.edges(context.tensor(0)), weights=weights,
        **_finish(context, tensor, bits, len(weights), scale),
    )  # fmt: skip


def _pool(context: Context, kind: type[int8.AveragePool2DInt8]) -> Node | list[Node]:
    context.arity((1,))
    source, out = context.tensor(0), context.output()
    activations(source, out)
    same_quantisation(source, out)
    size = context.option("FilterHeight"), context.option("FilterWidth")
    window = _window(context, source, size)
    del window["dilations"]
    lo, hi = context.activation()
    node = kind(**context.edges(source), size=size, lo=lo, hi=hi, **window)  # type: ignore[arg-type]
    return _each_sample(context, node, size[0])


def average_pool_2d(context: Context) -> Node | list[Node]:
    return _pool(context, int8.AveragePool2DInt8)


def max_pool_2d(context: Context) -> Node | list[Node]:
    return _pool(context, int8.MaxPool2DInt8)


def mean(context: Context) -> Node:
    context.arity((2,))
    source, out = context.tensor(0), context.output()
    activations(source, out)
    rank = len(source.shape)
    found = {position(axis, rank) for axis in integers(context.tensor(1))}
    axes = tuple(int(i in found) for i in range(MAX_AXES))
    if any(i < 0 for i in found) and source.shape[0] != 1:
        raise Unsupported("is over the batch")
    if not plain(source):
        raise Unsupported(f"is of several samples, {source.shape}")
    (scale, zero), (out_scale, out_zero) = scale_of(source), scale_of(out)
    count = math.prod(n for i, n in enumerate(source.shape) if i - rank + MAX_AXES in found)
    keep = bool(context.option("KeepDims", False))
    reduced = [i - rank + MAX_AXES in found for i in range(rank)]
    context.expect(tuple(
        1 if gone else n for n, gone in zip(source.shape, reduced, strict=True) if keep or not gone
    ))  # fmt: skip
    multiplier, shift = arithmetic.mean_multiplier(scale, out_scale, count)
    return int8.MeanInt8(
        **context.edges(source), axes=(axes[0], axes[1], axes[2]), multiplier=multiplier,
        shift=shift, input_zero=zero, output_zero=out_zero,
    )  # fmt: skip
