"""Packing ``nibbles``: int4 weights two to a byte, the first in the low nibble, in C order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.layers import Layer


def arrays(layer: Layer, graph: Graph) -> dict[str, npt.NDArray[np.uint8]]:
    """``weights``: uint8, half as many as there are weights (the last one may be half empty)."""
    flat = layer.node.arrays["weights"].ravel().astype(np.uint8) & 15
    pairs = np.append(flat, np.zeros(flat.size % 2, np.uint8)).reshape(-1, 2)
    return {"weights": pairs[:, 0] | pairs[:, 1] << 4}
