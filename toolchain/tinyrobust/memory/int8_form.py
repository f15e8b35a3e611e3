"""The same network in int8: what a ternary plan's memory is held against.

In: a Graph of family ``fixed``. Out: a Graph of family ``tflite`` with the same layers in the same
shapes, every layer's scale a power of two. It computes another function; a plan of it takes the
flash and RAM that the network would take with int8 weights and int8 activations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyrobust.graph import int8
from tinyrobust.graph.base import Node, Reshape, Tensor
from tinyrobust.graph.nodes import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    Pool2D,
    Requantize,
)

_HALF = 1 << 30  # a multiplier of one half, before its shift
_ZERO = -128  # of all activations: ReLU outputs


def int8_form(graph: Graph) -> Graph:
    """``graph`` (family ``fixed``) with int8 layers. Raises GraphError where a layer has no int8
    counterpart."""
    made = _Form(graph)
    for node in graph.nodes:
        made.take(node)
    return made.graph()


class _Form:
    def __init__(self, graph: Graph) -> None:
        self._from = graph
        self._nodes: list[Node] = []
        self._tensors: list[Tensor] = []
        self._name: dict[str, str] = {}  # of a tensor of the original: its tensor here

    def take(self, node: Node) -> None:
        sources = tuple(self._name[name] for name in node.inputs)
        if isinstance(node, Requantize):
            if len(sources) == 2:
                self._add(node, int8.AddInt8(
                    node.name, sources, node.output, input_zeros=(_ZERO, _ZERO),
                    output_zero=_ZERO, multipliers=(_HALF, _HALF, _HALF), shifts=(0, 0, -18),
                ))  # fmt: skip
            else:  # within the layer that made the sums
                self._name[node.output] = sources[0]
            if node.scores:
                self._scores(node)
        elif isinstance(node, Reshape):
            self._add(node, Reshape(node.name, sources, node.output))
        else:
            self._add(node, self._counterpart(node, sources))

    def graph(self) -> Graph:
        original = self._from
        return Graph(
            original.name, original.task, original.labels, tuple(self._tensors),
            tuple(self._nodes), family="tflite",
        )  # fmt: skip

    def _counterpart(self, node: Node, sources: tuple[str, ...]) -> Node:
        named: tuple[str, tuple[str, ...], str] = (node.name, sources, node.output)
        if isinstance(node, Input):
            return int8.InputInt8(*named)
        if isinstance(node, Conv2D):
            channels = len(node.weights)
            return int8.Conv2DInt8(
                *named, **_scales(channels), weights=node.weights, strides=node.strides,
                pads=node.pads,
            )  # fmt: skip
        if isinstance(node, DepthwiseConv2D):
            weights = np.ascontiguousarray(node.weights.transpose(1, 2, 0))
            return int8.DepthwiseConv2DInt8(
                *named, **_scales(weights.shape[2]), weights=weights, strides=node.strides,
                pads=node.pads,
            )  # fmt: skip
        if isinstance(node, Dense):
            return int8.DenseInt8(*named, **_scales(len(node.weights)), weights=node.weights)
        if isinstance(node, Pool2D):
            kind = int8.MaxPool2DInt8 if node.kind == "max" else int8.AveragePool2DInt8
            return kind(*named, node.size, node.strides)
        assert isinstance(node, GlobalAveragePool)
        size = self._from.tensor[node.inputs[0]].shape[:2]
        return int8.AveragePool2DInt8(*named, (size[0], size[1]), (size[0], size[1]))

    def _add(self, original: Node, node: Node) -> None:
        shape = self._from.tensor[original.output].shape
        self._nodes.append(node)
        self._tensors.append(Tensor(node.output, shape, -128, 127, 0, 0.02, _ZERO))
        self._name[original.output] = node.output

    def _scores(self, node: Requantize) -> None:
        name = f"{node.output}_scores"
        self._nodes.append(int8.ScoresInt8(name, (self._name[node.output],), name))
        self._tensors.append(Tensor(name, (len(self._from.labels),), -128, 127, 0))


def _scales(channels: int) -> dict[str, Any]:
    return {
        "bias": np.zeros(channels, np.int32),
        "multipliers": np.full(channels, _HALF, np.int32),
        "shifts": np.full(channels, -7, np.int32),
        "input_zero": _ZERO,
        "output_zero": _ZERO,
    }
