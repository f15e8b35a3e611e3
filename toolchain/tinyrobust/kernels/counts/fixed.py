"""What the kernels of family ``fixed`` that gather windows do on a layer.

They mirror ``firmware/runtime/windows.hpp``, ``lists.hpp``, ``t2.hpp`` and ``fixed.hpp``.

Windows: ``inside_rows``, ``edge_rows``, ``outside_rows``: kernel rows handed to ``inside``,
``edge`` and ``outside``; ``crossing_rows``: those of ``inside`` in windows that cross the border.
Lists: ``octets``, ``rest``: rounds of eight and single inputs spread; ``octet_rows``,
``rest_rows``: rows that have some; ``cleared``: inputs cleared, ``clears``: runs of them;
``doubles``, ``odds``: rounds of two pairs and single pairs of a tile's lists; ``empty``: lists
without a pair; ``shared_doubles``, ``shared_odds``, ``shared_empty`` where two channels share.
Two bits: ``expand16``, ``expand4``, ``expand1``: rounds of 16 and 4 inputs and inputs of tails;
``rows16``, ``rows4``, ``rows1``: rows that have some; ``cleared_quads``: quads cleared;
``edge_steps``: rounds of the loop over single inputs; ``edge_inside``, ``edge_before``: those
that read one and those before the input's edge; ``idle_columns``, ``idle_quads``: columns
without a pixel and what is cleared for them.
Finish: flags of the way taken, ``quick_raw``, ``quick_plain``, ``quick_add8``, ``quick_add16``
(on a core with DSP instructions), of the bits (``seven``), and of the general way's branches:
``raw32``, ``in8``, ``in16``, ``in32`` (a bare requantisation's source), ``add8``, ``add16``,
``add32``.
Depthwise: ``cut_rows`` and ``cut_taps`` of the windows that lie in the image.
Means and pools: ``half_even``: rounded so; ``ties``: and a half is possible, the pixels being even.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Pool2D,
    Requantize,
)
from tinyrobust.kernels.layers import Layer, narrow, storage

NAMES = frozenset({
    "inside_rows", "edge_rows", "outside_rows", "crossing_rows",
    "octets", "rest", "octet_rows", "rest_rows", "cleared", "clears",
    "doubles", "odds", "empty", "shared_doubles", "shared_odds", "shared_empty",
    "expand16", "expand4", "expand1", "rows16", "rows4", "rows1", "cleared_quads",
    "edge_steps", "edge_inside", "edge_before", "idle_columns", "idle_quads",
    "quick_raw", "quick_plain", "quick_add8", "quick_add16", "seven",
    "raw32", "in8", "in16", "in32", "add8", "add16", "add32", "half_even", "ties",
    "cut_rows", "cut_taps",
})  # fmt: skip
_T2_COLUMNS = 4


def counts(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> dict[str, float]:
    """A value for each of NAMES, 0 where the layer has no such thing."""
    found: dict[str, float] = dict.fromkeys(NAMES, 0)
    node = layer.node
    if isinstance(node, (Conv2D, Dense)):
        rows = node.weights.reshape(len(node.weights), -1)
        found |= _lists("", rows) | _lists("shared_", shared_rows(rows))
        found |= _finish(layer, node, graph)
    if isinstance(node, Conv2D):
        found |= _windows(node, graph)
    if isinstance(node, GlobalAveragePool):
        height, width, _ = graph.tensor[layer.source].shape
        found |= {"half_even": int(node.half_even),
                  "ties": int(node.half_even and height * width % 2 == 0)}  # fmt: skip
    if isinstance(node, Pool2D):
        even = node.half_even and node.size[0] * node.size[1] % 2 == 0
        found |= {"half_even": int(node.half_even), "ties": int(even)}
    if isinstance(node, DepthwiseConv2D):
        found |= _taps(node, graph) | _finish(layer, node, graph)
    if isinstance(node, Requantize):
        types = storage(graph)
        found |= {f"in{bits}": int(types[layer.source][1:] == str(bits)) for bits in (8, 16, 32)}
        found |= _added(types[layer.operand] if layer.operand else "")
    return found


def shared_rows(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Rows of trits after two neighbouring rows became four: equal, opposite, first only, second
    only (the sign is the first's); a last odd row stays."""
    even = len(rows) // 2 * 2
    first, second = rows[0:even:2], rows[1:even:2]
    both = first * second
    return np.concatenate([
        np.where(both > 0, first, 0), np.where(both < 0, first, 0),
        np.where(second == 0, first, 0), np.where(first == 0, second, 0), rows[even:],
    ]).astype(np.int8)  # fmt: skip


def _taps(node: DepthwiseConv2D, graph: Graph) -> dict[str, float]:
    """Of windows that are cut at the border: their rows and taps, over all output pixels."""
    source, out = graph.tensor[node.inputs[0]].shape, graph.tensor[node.output].shape
    starts = [np.arange(out[i]) * node.strides[i] - node.pads[2 * i] for i in (0, 1)]
    inside = [
        int((np.minimum(at + size, source[i]) - np.maximum(at, 0)).sum())
        for i, (at, size) in enumerate(zip(starts, node.weights.shape[1:], strict=True))
    ]
    return {"cut_rows": inside[0] * out[1], "cut_taps": inside[0] * inside[1]}


def _lists(prefix: str, rows: npt.NDArray[np.int8]) -> dict[str, float]:
    pairs = np.array([(np.count_nonzero(rows == s, axis=1) + 1) // 2 for s in (-1, 1)])
    return {
        f"{prefix}doubles": int((pairs // 2).sum()), f"{prefix}odds": int((pairs % 2).sum()),
        f"{prefix}empty": int(np.count_nonzero(pairs == 0)),
    }  # fmt: skip


def _finish(layer: Layer, node: Conv2D | Dense | DepthwiseConv2D, graph: Graph) -> dict[str, float]:
    fits, requantize = narrow(graph, node), layer.requantize
    operand = storage(graph)[layer.operand] if layer.operand else ""
    found = _added(operand)
    if requantize is None:
        return {"quick_raw": int(fits), "raw32": int(not fits)}
    if requantize.scores:
        return found
    ends = requantize.lo == 0 and requantize.hi & (requantize.hi + 1) == 0
    found |= {
        "quick_plain": fits and ends and not operand,
        "quick_add8": fits and ends and operand == "u8",
        "quick_add16": fits and ends and operand == "i16",
        "seven": requantize.hi == 127,
    }
    return {name: int(value) for name, value in found.items()}


def _added(operand: str) -> dict[str, float]:
    return {"add8": operand == "u8", "add16": operand == "i16", "add32": operand == "i32"}


def _windows(node: Conv2D, graph: Graph) -> dict[str, float]:
    (in_h, in_w, in_c), out = graph.tensor[node.inputs[0]].shape, graph.tensor[node.output].shape
    kernel_h, kernel_w = node.weights.shape[1:3]
    y0 = np.arange(out[0]) * node.strides[0] - node.pads[0]
    x0 = np.arange(out[1]) * node.strides[1] - node.pads[2]
    above = np.clip(-y0, 0, kernel_h) + np.clip(y0 + kernel_h - in_h, 0, kernel_h)
    outside = int(above.sum()) * out[1]
    within = (kernel_h - above).astype(int)  # kernel rows that lie in the input, per output row
    crosses_y, crosses_x = above > 0, (x0 < 0) | (x0 + kernel_w > in_w)
    left, right = (
        np.clip(-x0, 0, None)[crosses_x],
        np.clip(x0 + kernel_w - in_w, 0, None)[crosses_x],
    )
    rows = int(within.sum())
    edge = rows * int(crosses_x.sum())
    crossing = int(within[crosses_y].sum()) * int((~crosses_x).sum())
    inside = crossing + kernel_h * int((~crosses_y).sum()) * int((~crosses_x).sum())
    spans = (kernel_w - left - right) * in_c  # inputs of each edge's row that exist
    row = kernel_w * in_c
    found: dict[str, Any] = {
        "inside_rows": inside, "edge_rows": edge, "outside_rows": outside,
        "crossing_rows": crossing,
        "octets": inside * (row // 8) + rows * int((spans // 8).sum()),
        "rest": inside * (row % 8) + rows * int((spans % 8).sum()),
        "octet_rows": inside * (row >= 8) + rows * int(np.count_nonzero(spans >= 8)),
        "rest_rows": inside * (row % 8 > 0) + rows * int(np.count_nonzero(spans % 8)),
        "clears": outside + rows * int(np.count_nonzero(left) + np.count_nonzero(right)),
        "cleared": outside * row + rows * int((row - spans).sum()),
    }  # fmt: skip
    quads = -(-row // 4)
    whole = in_c % 4 == 0
    expanded = spans if whole else spans[:0]
    found |= {
        "expand16": inside * (row // 16) + rows * int((expanded // 16).sum()),
        "expand4": inside * (row % 16 // 4) + rows * int((expanded % 16 // 4).sum()),
        "expand1": inside * (row % 4),
        "rows16": inside * (row >= 16) + rows * int(np.count_nonzero(expanded >= 16)),
        "rows4": inside * (row % 16 >= 4) + rows * int(np.count_nonzero(expanded % 16 >= 4)),
        "rows1": inside * (row % 4 > 0),
        "cleared_quads": outside * quads
        + (rows * int(((left + right) * in_c // 4).sum()) if whole else 0),
        "edge_steps": 0 if whole else edge * 4 * quads,
        "edge_inside": 0 if whole else rows * int(spans.sum()),
        "edge_before": 0 if whole else rows * int(left.sum()) * in_c,
        "idle_columns": -(out[0] * out[1]) % _T2_COLUMNS,
        "idle_quads": -(out[0] * out[1]) % _T2_COLUMNS * quads * kernel_h,
    }
    return {name: float(value) for name, value in found.items()}
