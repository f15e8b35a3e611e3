"""What ``conv2d_tg_u8`` generates for a layer, counted from its weights (``kernels/tg.py``).

``fits``: 1 when the kernel is exact on the layer and its code reaches everything. ``lane``: words
of a row of output, ``masked``: those of them with pixels beyond the width. ``copied``: words of
windows that are copied first, ``copied_rows`` their rows of one channel that are not padding,
``copied_bytes`` the pixels in these, ``copied_stretches`` all rows of one channel.
``codes_bytes``: weights in flash. ``node_bytes``, ``unit_bytes``: the table before the code, and
the longest piece of code; ``all_units_bytes``: all pieces. ``part_taps``, ``part_stretches``:
inputs of a part, and their rows and channels.

One inference runs ``run`` generated instructions; ``run_pairs``, ``run_singles``, ``run_spills``:
how often what was written runs, ``groups`` the same of all finishes, ``part_groups`` of those of
parts before the last, ``rows`` ends of rows. Written for it are, from ``generated`` sorted codes:
``pairs``, ``singles``, ``leaves``, ``additions``, ``spills``, ``units`` of ``blocks``, and
``finish_words``; ``closed_lines`` of a cache hold it. ``nonzero_codes``: inputs that count for any
channel of their block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinyrobust.graph.nodes import INT16, INT32, Conv2D, Graph
from tinyrobust.graph.verify import accumulator_range
from tinyrobust.kernels import tg
from tinyrobust.kernels.layers import Layer, storage, view_roots
from tinyrobust.kernels.settle import settled

NAMES = frozenset({
    "fits", "lane", "masked", "parts", "copied", "copied_rows", "codes_bytes", "node_bytes",
    "unit_bytes", "all_units_bytes", "part_taps", "part_stretches", "run", "run_pairs",
    "run_singles", "run_spills", "groups", "part_groups", "rows", "generated", "pairs", "singles",
    "leaves", "additions", "spills", "units", "blocks", "finish_words", "copied_bytes",
    "copied_stretches", "nonzero_codes", "closed_lines",
})  # fmt: skip
_LINE = 32  # bytes of a cache's line
_IMMEDIATE = 4096  # bytes that the finish reaches from the first channel of a block


def counts(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> dict[str, float]:
    """Values of ``NAMES``."""
    node = layer.node
    assert isinstance(node, Conv2D)
    source, out = graph.tensor[layer.source], graph.tensor[layer.output]
    geometry = tg.Geometry.of(node, source.shape, out.shape, variant["split"])
    rows = 0 if geometry.direct else _rows_inside(node, source.shape, out.shape)
    found = {
        "fits": int(_fits(layer, graph, geometry)), "lane": geometry.lane,
        "parts": geometry.parts, "copied": geometry.copy_words,
        "masked": geometry.lane - max(out.shape[1] - 3 * geometry.lane, 0),
        "copied_stretches": geometry.copy_words // geometry.stretch,
        "copied_rows": rows, "copied_bytes": rows * _pixels(node, geometry, source.shape[1]),
        "codes_bytes": tg.stream_bytes(node, geometry), "node_bytes": geometry.node_bytes,
        "part_taps": geometry.part_taps,
        "part_stretches": geometry.part_taps // geometry.columns,
        "blocks": -(-out.shape[2] // tg.CHANNELS),
    }  # fmt: skip
    over = bool(variant.get("over_operand", _in_place(layer, graph)))
    return found | _units(layer, graph, geometry, keep=bool(variant["keep"]), over_operand=over)


def finish_kind(layer: Layer, graph: Graph) -> str:
    """What becomes of the sums, as generate.hpp names it."""
    if layer.finish == "raw":
        return "raw"
    if not layer.operand:
        return "plain"
    return "add8" if storage(graph)[layer.operand] == "u8" else "add16"


def _units(
    layer: Layer, graph: Graph, geometry: tg.Geometry, *, keep: bool, over_operand: bool
) -> dict[str, float]:
    node, requantize = layer.node, settled(layer, graph)
    assert isinstance(node, Conv2D)
    kind = finish_kind(layer, graph)
    scaled = requantize is not None and requantize.shift == 16
    height = graph.tensor[layer.output].shape[0]
    total = dict.fromkeys(
        ("run", "run_pairs", "run_singles", "run_spills", "groups", "part_groups", "rows",
         "generated", "pairs", "singles", "leaves", "additions", "spills", "units", "finish_words",
         "nonzero_codes", "all_units_bytes", "unit_bytes", "closed_lines"), 0.0,
    )  # fmt: skip
    words = height * geometry.lane
    finishes: dict[tuple[str, int], int] = {}
    standing = None
    for finish, unit, codes in tg.units(
        node, geometry, kind, scaled=scaled, in_place=over_operand, shared=keep
    ):
        total["run"] += words * (unit.words + finish.group) + height * finish.row + finish.LAST
        total["rows"] += height
        total["groups"] += words
        total["part_groups"] += words * (finish.kind == "part")
        total["generated"] += codes
        total["nonzero_codes"] += unit.inputs
        for name in ("pairs", "singles", "spills"):
            total[f"run_{name}"] += words * getattr(unit, name)
        for name in ("pairs", "singles", "leaves", "additions", "spills"):
            total[name] += getattr(unit, name)
        total["units"] += 1
        total["closed_lines"] += -(-4 * (finish.words + unit.words) // _LINE)
        total["finish_words"] += finish.words if finish.same != standing else 0
        standing = finish.same
        apart = replace(finish, in_place=False)
        finishes[finish.same] = 4 * apart.words
        total["all_units_bytes"] += 4 * unit.words
        total["unit_bytes"] = max(total["unit_bytes"], 4 * (apart.words + unit.words))
    total["all_units_bytes"] += sum(finishes.values())
    return total


def _in_place(layer: Layer, graph: Graph) -> bool:
    """Whether the planner lets the output lie over the operand: nobody reads that afterwards."""
    if not layer.operand or view_roots(graph)[layer.source] == view_roots(graph)[layer.operand]:
        return False
    roots = view_roots(graph)
    own = [node.name for node in graph.nodes].index(layer.nodes[-1])
    later = (name for node in graph.nodes[own + 1 :] for name in node.inputs)
    return all(roots[name] != roots[layer.operand] for name in later)


def _rows_inside(node: Conv2D, source: tuple[int, ...], out: tuple[int, ...]) -> int:
    """Rows and channels of copied windows that lie in the image."""
    rows = (out[0] - 1) * node.strides[0] + node.weights.shape[1]
    inside = sum(1 for row in range(rows) if 0 <= row - node.pads[0] < source[0])
    return inside * source[2]


def _pixels(node: Conv2D, geometry: tg.Geometry, width: int) -> int:
    """Pixels of a copied row that lie in the image, all lanes together."""
    apart = geometry.step * geometry.lane
    starts = [lane * apart - node.pads[2] for lane in range(4)]
    return sum(max(min(width - s, geometry.stretch), 0) - max(-s, 0) for s in starts if s < width)


def _fits(layer: Layer, graph: Graph, geometry: tg.Geometry) -> bool:
    node, requantize = layer.node, settled(layer, graph)
    assert isinstance(node, Conv2D)
    source = graph.tensor[layer.source]
    low, high = accumulator_range(node.weights, source)
    # sums may be held negated, and so may their multipliers
    exact = source.lo >= 0 and source.hi <= 127 and low.min() > INT16[0] and high.max() <= INT16[1]
    if requantize is not None:
        limit = requantize.hi + 1
        exact = exact and requantize.lo == 0 and limit & (limit - 1) == 0 and limit <= 256
        exact = exact and bool(np.all(requantize.multipliers > INT32[0]))
    span = geometry.stretch * geometry.taps // geometry.columns
    reaches = span < 1 << 16 and 4 * 3 * (geometry.lane + 2) < _IMMEDIATE
    return bool(exact and reaches)
