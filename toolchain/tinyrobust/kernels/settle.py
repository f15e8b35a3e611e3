"""A layer's requantisation as the device computes it, with constants that suit its instructions.

In: a layer and its Graph. Out: a Requantize that gives the same integers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from tinyrobust.graph.nodes import INT32, Conv2D, DepthwiseConv2D, Graph, Requantize
from tinyrobust.graph.verify import accumulator_range, requantize_range
from tinyrobust.kernels.layers import Layer


@lru_cache(maxsize=1024)
def settled(layer: Layer, graph: Graph) -> Requantize | None:
    """The layer's requantisation as the device computes it: with a shift of 16 where that gives
    the same integers, because halfwords then need no shifting.

    ``floor((b + half + floor(m * acc / 2**16)) / 2**s)`` is the floor of one quotient, so m and b
    may take a factor; with two branches, each floored by itself, they stay.
    """
    node = layer.requantize
    if node is None or node.scores or len(node.inputs) > 1:
        return node
    if not isinstance(layer.node, (Conv2D, DepthwiseConv2D)):
        return node
    up = 16 - node.shift
    acc = accumulator_range(layer.node.weights, graph.tensor[layer.source])
    low, high = requantize_range(node, [acc])
    # a shift of 0 has no rounding, a shift of 16 has
    bias = (node.bias.astype(np.int64) << up) - ((1 << 15) if node.shift == 0 else 0)
    multipliers = node.multipliers.astype(np.int64) << up
    extremes = [bias, multipliers, (low.astype(np.int64) << up) + (1 << 15),
                ((high.astype(np.int64) + 1) << up) + (1 << 15)]  # fmt: skip
    if up == 0 or any(np.any((e < INT32[0]) | (e > INT32[1])) for e in extremes):
        return node
    return replace(
        node, bias=bias.astype(np.int32), multipliers=multipliers.astype(np.int32), shift=16
    )
