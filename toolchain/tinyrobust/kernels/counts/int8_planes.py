"""What the depthwise kernels over ``firmware/runtime/int8_planes.hpp`` do on an int8 layer.

``exact``: 1 when they can compute the layer and their arithmetic is proved to be TensorFlow Lite's
on it, for every channel and every possible input; else 0. ``whole``: the image is one strip and the
output has its shape. ``strips`` of the output, over all channels; ``row_pairs`` of outputs, over
all columns and channels, ``far`` those of stride 2; ``columns``: the outputs' columns, over all
channels, ``odd_columns`` those of an odd number of rows. ``filled``: columns of planes that are
filled, with ``words`` of two rows of four channels each, ``border_words`` of them with padding,
``blank_words`` with nothing else; ``careful``: part of the channels that need care.
``scratch``: bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import int8
from tinyrobust.graph.base import aligned
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.counts import int8_pairs
from tinyrobust.kernels.layers import Layer

NAMES = frozenset({
    "exact", "whole", "strips", "row_pairs", "far", "columns", "odd_columns", "filled", "words",
    "border_words", "blank_words", "careful", "scratch",
})  # fmt: skip
PLANE_ROWS = 28
STRIP_ROWS = {1: PLANE_ROWS - 2, 2: PLANE_ROWS // 2 - 2}  # by stride
STRIP_COLUMNS = {1: 16, 2: 8}


def counts(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> dict[str, float]:
    """Values of ``NAMES``."""
    node: Any = layer.node
    source = aligned(graph.tensor[layer.source].shape)
    out = aligned(graph.tensor[layer.output].shape)
    if not exact(node, source[2]):
        return dict.fromkeys(NAMES, 0.0)
    stride, groups = node.strides[0], out[2] // 4
    rows = _parts(out[0], STRIP_ROWS[stride])
    columns = _parts(out[1], STRIP_COLUMNS[stride])
    one = len(rows) == len(columns) == 1
    found = dict.fromkeys(NAMES, 0.0) | {
        "exact": 1,
        "whole": int(one and source == out and stride == 1),
        "strips": groups * len(rows) * len(columns),
        "row_pairs": out[2] * out[1] * sum(-(-n // 2) for _, n in rows),
        "columns": out[2] * out[1] * len(rows),
        "odd_columns": out[2] * out[1] * sum(n % 2 for _, n in rows),
        "careful": float(careful_channels(node).mean()),
        "scratch": 8 * PLANE_ROWS * ((max(n for _, n in columns) - 1) * stride + 3),
    }  # fmt: skip
    found["far"] = found["row_pairs"] * (stride - 1)
    for y, height in rows:
        for x, width in columns:
            read = x * stride - node.pads[2] + np.arange((width - 1) * stride + 3)
            inside = int(np.count_nonzero((read >= 0) & (read < source[1])))
            pairs = (height + 3) // 2 if stride == 1 else height + 1
            first = y * stride - node.pads[0]
            upper = first + 2 * np.arange(pairs)
            full = int(np.count_nonzero((upper >= 0) & (upper + 1 < source[0])))
            found["filled"] += groups * len(read)
            found["words"] += groups * inside * full
            found["border_words"] += groups * inside * (pairs - full)
            found["blank_words"] += (1 if one else groups) * (len(read) - inside) * pairs
    return found


def _parts(whole: int, most: int) -> list[tuple[int, int]]:
    """(start, length) of each part."""
    return [(at, min(most, whole - at)) for at in range(0, whole, most)]


def exact(node: int8.DepthwiseConv2DInt8, channels: int) -> bool:
    """True when the kernels compute exactly what ``node`` is."""
    fits = (node.depth_multiplier == 1 and channels % 4 == 0 and node.strides in ((1, 1), (2, 2))
            and node.dilations == (1, 1) and max(node.weights.shape[:2]) <= 3
            and (node.lo, node.hi) == (-128, 127))  # fmt: skip
    # The second rounding needs at least one bit.
    return fits and int(int8_pairs.scales(node)[1].min()) > 0


def careful_channels(node: int8.DepthwiseConv2DInt8) -> npt.NDArray[np.int64]:
    """1 for channels whose halves of negative results matter, or whose values can leave int16."""
    return np.where((node.lo < node.output_zero) | ~int8_pairs.halves(node), 1, 0)
