"""Packing ``int8_planes``: depthwise weights of up to 3x3, nine words a channel;
``firmware/runtime/int8_planes.hpp`` specifies it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.codegen.packers.int8_pairs import folded_bias
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.counts.int8_pairs import scales
from tinyrobust.kernels.counts.int8_planes import careful_channels
from tinyrobust.kernels.layers import Layer


def arrays(layer: Layer, graph: Graph) -> dict[str, npt.NDArray[Any] | None]:
    """The records as ``weights``; they hold what the other arrays would."""
    node: Any = layer.node
    rows, columns, channels = node.weights.shape
    taps = np.zeros((3, 3, channels), np.int64)
    taps[:rows, :columns] = node.weights
    words = [
        (taps[i, x] & 0xFFFF) | (taps[i + 1, x] & 0xFFFF) << 16 for x in range(3) for i in (0, 1)
    ]
    multipliers, shifts = scales(node)
    words += [folded_bias(node), 2 * multipliers, shifts - 1 + 256 * careful_channels(node)]
    packed = (np.stack(words, axis=1) & 0xFFFFFFFF).astype(np.uint32)
    return {"weights": packed.ravel(), "bias": None, "multipliers": None, "shifts": None}
