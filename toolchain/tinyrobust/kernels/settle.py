"""A layer's requantisation as the device computes it, with constants that suit its instructions.

In: a layer and its Graph. Out: a Requantize that gives the same integers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyrobust.graph.nodes import INT32, Conv2D, Graph, Requantize
from tinyrobust.graph.verify import accumulator_range, requantize_range
from tinyrobust.kernels.layers import Layer


def settled(layer: Layer, graph: Graph) -> Requantize | None:
    """The layer's requantisation as the device computes it: with a shift of 16 where that gives
    the same integers, because halfwords then need no shifting.

    ``floor((b + half + floor(m * acc / 2**16)) / 2**s)`` is the floor of one quotient, so m and b
    may take a factor; with two branches, each floored by itself, they stay.
    """
    node = layer.requantize
    if node is None or node.scores or len(node.inputs) > 1 or not isinstance(layer.node, Conv2D):
        return node
    up = 16 - node.shift
    acc = accumulator_range(layer.node.weights, graph.tensor[layer.source])
    half, rounding = (1 << node.shift) >> 1, 1 << 15  # the device's, with a shift of 16
    low, high = (t.astype(np.int64) + half for t in requantize_range(node, [acc]))
    bias = ((node.bias.astype(np.int64) + half) << up) - rounding
    multipliers = node.multipliers.astype(np.int64) << up
    extremes = [bias, bias + rounding, multipliers, low << up, (high + 1) << up]
    if up == 0 or any(np.any((e < INT32[0]) | (e > INT32[1])) for e in extremes):
        return node
    return replace(
        node, bias=bias.astype(np.int32), multipliers=multipliers.astype(np.int32), shift=16
    )
