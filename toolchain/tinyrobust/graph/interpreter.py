"""The numpy interpreter: what each node means, on batches, in exact integers.

In: a Graph and samples (``ports.py``): of a classifier uint8 images (N, H, W, C). Out: results,
int32 (N, elements of all outputs): of a classifier its scores (N, classes); or every tensor.
Ternary sums run in float32 or float64 matrix products where every partial sum is an integer
below 2**24 or 2**53, so BLAS computes them exactly; the verifier's ranges prove it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import interpreter_int8, ports
from tinyrobust.graph.int8 import Assign, State
from tinyrobust.graph.nodes import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    Node,
    Pool2D,
    Requantize,
)

UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]
States = dict[str, npt.NDArray[Any]]
BATCH = 8  # images whose layers stay in the cache


def run(graph: Graph, images: UInt8, *, batch: int = BATCH) -> npt.NDArray[np.int32]:
    """Results int32 (N, elements of all outputs) of samples; a classifier's scores of images. With
    states the samples are a sequence from the first values on.

    Raises GraphError when the samples have another shape or type.
    """
    return advance(graph, images, begin(graph), batch=batch)


def begin(graph: Graph) -> States:
    """The states before the first run: (1, *shape) by tensor."""
    nodes = [node for node in graph.nodes if isinstance(node, State)]
    return {node.output: node.initial[None].copy() for node in nodes}


def advance(
    graph: Graph, images: UInt8, states: States, *, batch: int = BATCH
) -> npt.NDArray[np.int32]:
    """As ``run``, from ``states`` on, which are changed to what the last run leaves."""
    ports.check_samples(graph, images)
    parts = []
    batch = 1 if states else batch
    for i in range(0, len(images), batch):
        values = _execute(graph, images[i : i + batch], keep=False, states=states)
        found = [values[port.tensor] for port in graph.results]
        rows = [v.reshape(len(v), math.prod(v.shape[1:])) for v in found]
        parts.append(np.concatenate(rows, axis=1))
    empty = np.zeros((0, graph.output_count), np.int32)
    return np.concatenate([empty, *parts]).astype(np.int32, copy=False)


def trace(graph: Graph, images: UInt8) -> dict[str, npt.NDArray[np.int32]]:
    """Every tensor of the Graph by name, int32 (N, *shape), for samples; with states these are a
    sequence from the first values on."""
    ports.check_samples(graph, images)
    states = begin(graph)
    if not states or not len(images):
        values = _execute(graph, images, keep=True, states=states)
        return {name: value.astype(np.int32) for name, value in values.items()}
    runs = [_execute(graph, image[None], keep=True, states=states) for image in images]
    return {name: np.concatenate([r[name] for r in runs]).astype(np.int32) for name in runs[0]}


def call(graph: Graph, values: Mapping[str, Array]) -> dict[str, npt.NDArray[np.int32]]:
    """The outputs by name, int32 (N, *shape), of inputs by name (``ports.pack``)."""
    return ports.unpack(graph, run(graph, ports.pack(graph, values)))


def check_images(graph: Graph, images: UInt8) -> None:
    """Raise GraphError unless ``images`` are samples."""
    ports.check_samples(graph, images)


def _execute(graph: Graph, images: UInt8, *, keep: bool, states: States) -> dict[str, Array]:
    values: dict[str, Array] = {}
    entering = ports.split(graph, images) | states
    last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    last_use |= {port.tensor: len(graph.nodes) for port in graph.results}
    for i, node in enumerate(graph.nodes):
        inputs = [values[name] for name in node.inputs] or [entering[node.output]]
        values[node.output] = OPS[node.op](graph, node, inputs)
        if isinstance(node, Assign):
            states[node.inputs[1]] = values[node.output]
        if not keep:
            for name in set(node.inputs):
                if last_use[name] == i:
                    del values[name]
    return values


def _exact_float(graph: Graph, node: Node) -> npt.DTypeLike:
    out = graph.tensor[node.output]
    # Any partial sum lies within -(all minus)..(all plus), which the tensor's range covers.
    return np.float32 if max(-out.lo, out.hi) < 1 << 24 else np.float64


def patches(x: Array, node: Conv2D | DepthwiseConv2D, dtype: npt.DTypeLike) -> Array:
    """im2col: (N, H, W, C) -> (N, OH, OW, KH, KW, C) as ``dtype``, zeros where padded."""
    top, bottom, left, right = node.pads
    padded = np.pad(x.astype(dtype), ((0, 0), (top, bottom), (left, right), (0, 0)))
    kh, kw = node.weights.shape[1:3]
    view = _windows(padded, (kh, kw))
    view = view[:, :: node.strides[0], :: node.strides[1]]
    return view.transpose(0, 1, 2, 4, 5, 3)


def _windows(x: Array, size: tuple[int, int]) -> Array:
    """Every window of ``size``: (N, H, W, C) -> (N, OH, OW, C, KH, KW), a view."""
    axes: Any = (1, 2)  # numpy 1.26 types it as one axis
    return np.lib.stride_tricks.sliding_window_view(x, size, axes)


def _input(graph: Graph, node: Input, inputs: list[Array]) -> Array:
    return inputs[0] >> node.shift


def _conv(graph: Graph, node: Conv2D, inputs: list[Array]) -> Array:
    dtype = _exact_float(graph, node)
    columns = patches(inputs[0], node, dtype)
    n, oh, ow = columns.shape[:3]
    matrix = node.weights.reshape(len(node.weights), -1).astype(dtype).T
    acc = columns.reshape(n * oh * ow, len(matrix)) @ matrix
    return acc.astype(np.int32).reshape(n, oh, ow, len(node.weights))


def _depthwise(graph: Graph, node: DepthwiseConv2D, inputs: list[Array]) -> Array:
    return depthwise(node, inputs[0]).astype(np.int32)


def depthwise(node: DepthwiseConv2D, x: Array) -> Array:
    """The sums of ``node`` over (N, H, W, C): float32, exact below 2**16 weights per channel."""
    columns = patches(x, node, np.float32)
    return np.asarray(np.einsum("nyxijc,cij->nyxc", columns, node.weights.astype(np.float32)))


def _dense(graph: Graph, node: Dense, inputs: list[Array]) -> Array:
    dtype = _exact_float(graph, node)
    return (inputs[0].astype(dtype) @ node.weights.astype(dtype).T).astype(np.int32)


def _requantize(graph: Graph, node: Requantize, inputs: list[Array]) -> Array:
    t = node.bias.astype(np.int64)
    for multipliers, acc in zip(node.multipliers, inputs, strict=True):
        t = t + ((acc.astype(np.int64) * multipliers) >> 16)
    if node.scores:
        return t.astype(np.int32)
    half = (1 << node.shift) >> 1
    return np.clip((t + half) >> node.shift, node.lo, node.hi).astype(np.uint8)


def _pool(graph: Graph, node: Pool2D, inputs: list[Array]) -> Array:
    view = _windows(inputs[0], node.size)
    view = view[:, :: node.strides[0], :: node.strides[1]]
    if node.kind == "max":
        return np.asarray(view.max(axis=(-2, -1)))
    total = view.sum(axis=(-2, -1), dtype=np.int64)
    return mean(total, node, node.size[0] * node.size[1]).astype(inputs[0].dtype)


def _average(graph: Graph, node: GlobalAveragePool, inputs: list[Array]) -> Array:
    n = inputs[0].shape[1] * inputs[0].shape[2]
    total = inputs[0].sum(axis=(1, 2), dtype=np.int64)
    return mean(total, node, n).astype(inputs[0].dtype)


def mean(total: Array, node: GlobalAveragePool | Pool2D, n: int) -> Array:
    """Rounded mean of ``n`` elements from their sum, integers or floats that hold integers."""
    quotient = (total + node.rounding) // n
    if not node.half_even:
        return quotient
    tie = (2 * total) % (2 * n) == n
    return quotient - np.where(tie, quotient % 2, 0)


def _reshape(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    return inputs[0].reshape(len(inputs[0]), *graph.tensor[node.output].shape)


OPS: Mapping[str, Callable[[Graph, Any, list[Array]], Array]] = {
    "input": _input,
    "conv2d": _conv,
    "depthwise_conv2d": _depthwise,
    "dense": _dense,
    "requantize": _requantize,
    "pool2d": _pool,
    "global_average_pool": _average,
    "reshape": _reshape,
    **interpreter_int8.OPS,
}
