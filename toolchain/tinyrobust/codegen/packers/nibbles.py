"""Packing ``nibbles``: int4 weights two to a byte, the first in the low nibble, in C order.

Every run of the last axis (a tap's input channels, an output's inputs) starts with a byte.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.layers import Layer


def arrays(layer: Layer, graph: Graph) -> dict[str, npt.NDArray[np.uint8]]:
    """``weights``: uint8, half as many to a run as there are weights, rounded up."""
    weights = layer.node.arrays["weights"]
    codes = weights.reshape(-1, weights.shape[-1]).astype(np.uint8) & 15
    codes = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return {"weights": (codes[:, ::2] | codes[:, 1::2] << 4).astype(np.uint8)}
