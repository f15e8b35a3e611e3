"""What ``conv2d_tg_u8`` generates for a layer, counted from its weights (``kernels/tg.py``).

``fits``: 1 when the kernel is exact on the layer and its code reaches everything. ``lane``: words
of a row of output. ``copied``: words of windows that are copied first. ``codes_bytes``: weights in
flash. ``node_bytes``, ``unit_bytes``: the table before the code, and the longest piece of code.
``all_units_bytes``: all pieces. ``run``: instructions of the generated code for one inference.
``generated``: codes that are sorted for it; ``pairs``, ``singles``, ``leaves``, ``additions``,
``spills``, ``units``: what is written; ``finishes``: finishes that are written.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinyrobust.graph.nodes import INT16, INT32, Conv2D, Graph
from tinyrobust.graph.verify import accumulator_range
from tinyrobust.kernels import tg
from tinyrobust.kernels.layers import Layer, storage
from tinyrobust.kernels.settle import settled

NAMES = frozenset({
    "fits", "lane", "parts", "copied", "codes_bytes", "node_bytes", "unit_bytes",
    "all_units_bytes", "run", "generated", "pairs", "singles", "leaves", "additions", "spills",
    "units", "finishes",
})  # fmt: skip
_IMMEDIATE = 4096  # bytes that the finish reaches from the first channel of a block


def counts(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> dict[str, float]:
    """Values of ``NAMES``."""
    node = layer.node
    assert isinstance(node, Conv2D)
    source, out = graph.tensor[layer.source], graph.tensor[layer.output]
    geometry = tg.Geometry.of(node, source.shape, out.shape, variant["split"])
    found = {
        "fits": int(_fits(layer, graph, geometry)), "lane": geometry.lane,
        "parts": geometry.parts, "copied": geometry.copy_words,
        "codes_bytes": tg.stream_bytes(node, geometry), "node_bytes": geometry.node_bytes,
    }  # fmt: skip
    return found | _units(layer, graph, geometry)


def finish_kind(layer: Layer, graph: Graph) -> str:
    """What becomes of the sums, as generate.hpp names it."""
    if layer.finish == "raw":
        return "raw"
    if not layer.operand:
        return "plain"
    return "add8" if storage(graph)[layer.operand] == "u8" else "add16"


def _units(layer: Layer, graph: Graph, geometry: tg.Geometry) -> dict[str, float]:
    node, requantize = layer.node, settled(layer, graph)
    assert isinstance(node, Conv2D)
    kind = finish_kind(layer, graph)
    scaled = requantize is not None and requantize.shift == 16
    height = graph.tensor[layer.output].shape[0]
    total = dict.fromkeys(
        ("run", "generated", "pairs", "singles", "leaves", "additions", "spills", "units",
         "finishes", "all_units_bytes", "unit_bytes"), 0.0,
    )  # fmt: skip
    standing = None
    for finish, unit, codes in tg.units(node, geometry, kind, scaled=scaled, in_place=True):
        words = unit.words + finish.sums_words
        total["run"] += height * (geometry.lane * words + finish.ROW) + finish.LAST
        total["generated"] += codes
        for name in ("pairs", "singles", "leaves", "additions", "spills"):
            total[name] += getattr(unit, name)
        total["units"] += 1
        total["finishes"] += finish != standing
        standing = finish
        apart = tg.Finish(finish.kind, finish.channels, finish.scaled, in_place=False)
        n_bytes = 4 * (apart.words + unit.words)
        total["all_units_bytes"] += n_bytes
        total["unit_bytes"] = max(total["unit_bytes"], n_bytes)
    return total


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
