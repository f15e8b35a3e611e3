"""Packing ``int8_pairs``: int8 weights in pairs of channels with everything a tile needs, one
stream of words; ``firmware/runtime/int8_pairs.hpp`` specifies it.

The inputs of a channel are ordered as the kernel lays out its columns: matrix products as they
are; convolutions column of the kernel after column where pixels are whole quads, else row after
row, padded to whole quads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import int8
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.counts.int8_pairs import scales
from tinyrobust.kernels.layers import Layer


def arrays(layer: Layer, graph: Graph) -> dict[str, npt.NDArray[Any] | None]:
    """The stream as ``weights``; it holds what the other arrays would."""
    node: Any = layer.node
    return {"weights": stream(node), "bias": None, "multipliers": None, "shifts": None}


def stream(node: int8.Weighted) -> npt.NDArray[np.uint32]:
    """All blocks of four output channels."""
    rows = ordered(node)
    bias = folded_bias(node)
    multipliers, shifts = scales(node)
    blocks = -(-len(rows) // 4)
    missing = 4 * blocks - len(rows)
    rows = np.pad(rows, ((0, missing), (0, -rows.shape[1] % 4)))
    bias = np.pad(bias, (0, missing)).reshape(blocks, 4)
    multipliers = np.pad(multipliers, (0, missing), constant_values=1 << 30).reshape(blocks, 4)
    shifts = np.pad(shifts, (0, missing), constant_values=1).reshape(blocks, 4)
    bytes_ = (shifts - 1).astype(np.uint8)
    return np.concatenate(
        [
            _words(bias[:, ::2]),
            _pairs(rows.reshape(blocks, 2, 2, -1, 4)),
            _words(bias[:, 1::2]),
            bytes_.view(np.uint32),
            _words(2 * multipliers),
        ],
        axis=1,
    ).ravel()


def ordered(node: int8.Weighted) -> npt.NDArray[np.int8]:
    """(output channels, taps) in the order of the kernel's columns."""
    weights = node.weights
    if isinstance(node, int8.Conv2DInt8) and weights.shape[3] % 4 == 0:
        weights = weights.transpose(0, 2, 1, 3)
    return weights.reshape(len(weights), -1)


def folded_bias(node: int8.Weighted) -> npt.NDArray[np.int64]:
    """What sums over the input's own integers start with."""
    sums = node.per_channel.astype(np.int64).sum(axis=1)
    return np.asarray(node.bias.astype(np.int64) - node.input_zero * sums)


def _pairs(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.uint32]:
    """(blocks, words) of weights (blocks, pair, channel of the pair, quads, 4)."""
    halves = (rows[:, :, 0].astype(np.int64) + 256 * rows[:, :, 1]) & 0xFFFF
    words = halves[..., :2] | halves[..., 2:] << 16  # (blocks, pair, quads, 2)
    return words.transpose(0, 2, 3, 1).reshape(len(rows), -1).astype(np.uint32)


def _words(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    return np.asarray((values & 0xFFFFFFFF).astype(np.uint32))
