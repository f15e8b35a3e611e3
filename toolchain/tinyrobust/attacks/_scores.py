"""Scores of many images quickly, equal to the interpreter's on every integer.

In: a Graph and uint8 images (N, H, W, C). Out: int32 scores (N, classes). Black-box attacks ask
hundreds of thousands of times; this is the interpreter's arithmetic arranged for a processor:
floats throughout, few images at a time so that a layer stays in the cache, a thread per core.

Exactness. Accumulators are integers below 2**24 (float32) or 2**53 (float64), so BLAS sums them
exactly. A branch m * acc * 2**-16 has at most 47 significant bits (the verifier proves that its
floor fits int32), so float64 holds it, its sum with the bias, and that divided by 2**shift,
exactly. As floor(floor(a) / n) = floor(a / n), the last branch needs no floor of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import interpreter
from tinyrobust.graph.batches import in_batches, patches
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
IMAGES = 8  # at a time


class FastScores:
    """Callable: ``FastScores(graph)(images)``."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._matrix = {
            node.name: _matrix(graph, node)
            for node in graph.nodes
            if isinstance(node, (Conv2D, Dense))
        }
        self._last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}

    def __call__(self, images: UInt8) -> npt.NDArray[np.int32]:
        """Scores int32 (N, classes); raises GraphError for images of another shape."""
        interpreter.check_images(self.graph, images)
        out = np.zeros((len(images), self.graph.output.size), np.int32)

        def work(place: slice) -> None:
            out[place] = self._run(images[place])

        in_batches(len(images), IMAGES, work)
        return out

    def _run(self, images: UInt8) -> Array:
        values: dict[str, Array] = {}
        for i, node in enumerate(self.graph.nodes):
            inputs = [values[name] for name in node.inputs]
            values[node.output] = self._node(node, inputs, images)
            for name in node.inputs:
                if self._last_use[name] == i:
                    values.pop(name, None)
        return values[self.graph.output.name]

    def _node(self, node: Node, inputs: list[Array], images: UInt8) -> Array:
        if isinstance(node, Input):
            return (images >> node.shift).astype(np.float32)
        if isinstance(node, Conv2D):
            return self._conv(node, inputs[0])
        if isinstance(node, DepthwiseConv2D):
            return interpreter.depthwise(node, inputs[0])
        if isinstance(node, Dense):
            matrix = self._matrix[node.name]
            return inputs[0].astype(matrix.dtype) @ matrix
        if isinstance(node, Requantize):
            return _requantize(node, inputs)
        if isinstance(node, Pool2D):
            return _pool(node, inputs[0])
        if isinstance(node, GlobalAveragePool):
            total = inputs[0].sum(axis=(1, 2), dtype=np.float64)
            return interpreter.mean(total, node, inputs[0].shape[1] * inputs[0].shape[2])
        return inputs[0].reshape(len(inputs[0]), *self.graph.tensor[node.output].shape)

    def _conv(self, node: Conv2D, x: Array) -> Array:
        matrix = self._matrix[node.name]
        height, width, channels = self.graph.tensor[node.output].shape
        kernel = node.weights.shape[1:3]
        flat = patches(x, kernel, node.strides, node.pads, (height, width), matrix.dtype)
        return np.asarray((flat @ matrix).reshape(-1, height, width, channels))


def _matrix(graph: Graph, node: Conv2D | Dense) -> Array:
    """Weights (taps x IC, OC) in a type that holds every partial sum exactly."""
    out = graph.tensor[node.output]
    dtype = np.float32 if max(-out.lo, out.hi) < 1 << 24 else np.float64
    return np.ascontiguousarray(node.weights.reshape(len(node.weights), -1).T.astype(dtype))


def _requantize(node: Requantize, inputs: list[Array]) -> Array:
    shape = inputs[0].shape
    # Channels are few: factors repeated along a row make numpy's inner loops long.
    repeat = shape[-2] if len(shape) == 4 else 1
    step = 2.0**-node.shift
    half = float((1 << node.shift) >> 1)

    def branch(multipliers: Array, acc: Array, factor: float) -> Array:
        return acc.reshape(-1, repeat * shape[-1]) * np.tile(multipliers * factor, repeat)

    *first, last = zip(node.multipliers, inputs, strict=True)
    t = branch(*last, 2.0**-16 * step)
    t += np.tile((node.bias + half) * step, repeat)
    for multipliers, acc in first:
        other = branch(multipliers, acc, 2.0**-16)
        np.floor(other, out=other)
        other *= step
        t += other
    np.floor(t, out=t)
    if node.scores:
        return t.reshape(shape)
    small = np.empty(t.shape, np.float32)
    np.clip(t, node.lo, node.hi, out=small, casting="unsafe")
    return small.reshape(shape)


def _pool(node: Pool2D, x: Array) -> Array:
    view = np.lib.stride_tricks.sliding_window_view(x, node.size, (1, 2))  # type: ignore[call-overload]
    view = view[:, :: node.strides[0], :: node.strides[1]]
    if node.kind == "max":
        return np.asarray(view.max(axis=(-2, -1)))
    total = view.sum(axis=(-2, -1), dtype=np.float64)
    return interpreter.mean(total, node, node.size[0] * node.size[1])
