"""What the depthwise kernels over ``firmware/runtime/int8_planes.hpp`` do on an int8 layer.

``exact``: 1 when they can compute the layer and their arithmetic is proved to be TensorFlow Lite's
on it, for every channel and every possible input; else 0. ``whole``: the image is one strip and the
output has its shape. ``strips`` of the output; ``row_pairs`` of the output, over one column of it;
``columns``: those of all channels; ``expanded``: columns of two rows of four channels that become
words of planes, in ``expanded_rows`` rows; ``away``: halves of negative results matter;
``scratch``: bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyrobust.graph import int8
from tinyrobust.graph.interpreter_int8 import aligned
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.counts import int8_pairs
from tinyrobust.kernels.layers import Layer

NAMES = frozenset({
    "exact", "whole", "strips", "row_pairs", "columns", "expanded", "expanded_rows", "away",
    "scratch",
})  # fmt: skip
PLANE_ROWS = 28
STRIP_ROWS = PLANE_ROWS - 2
STRIP_COLUMNS = 16


def counts(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> dict[str, float]:
    """Values of ``NAMES``."""
    node: Any = layer.node
    source = aligned(graph.tensor[layer.source].shape)
    height, width, channels = aligned(graph.tensor[layer.output].shape)
    rows = _parts(height, STRIP_ROWS)
    columns = _parts(width, STRIP_COLUMNS)
    strips = len(rows) * len(columns)
    expanded_rows = sum((n + 3) // 2 for n in rows)
    groups = channels // 4
    return {
        "exact": int(exact(node, source[2])),
        "whole": int(strips == 1 and source == (height, width, channels)),
        "strips": strips,
        "row_pairs": sum(-(-n // 2) for n in rows),
        "columns": len(rows) * width * channels,
        "expanded": groups * expanded_rows * sum(n + 2 for n in columns),
        "expanded_rows": groups * expanded_rows * len(columns),
        "away": int(node.lo < node.output_zero),
        "scratch": 8 * PLANE_ROWS * (max(columns) + 2),
    }


def _parts(whole: int, most: int) -> list[int]:
    return [min(most, whole - at) for at in range(0, whole, most)]


def exact(node: int8.DepthwiseConv2DInt8, channels: int) -> bool:
    """True when the kernels compute exactly what ``node`` is."""
    fits = (node.depth_multiplier == 1 and channels % 4 == 0 and node.strides == (1, 1)
            and node.dilations == (1, 1) and max(node.weights.shape[:2]) <= 3
            and (node.lo, node.hi) == (-128, 127))  # fmt: skip
    return fits and int8_pairs.rounds_in_halves(node)
