"""What the kernels over class lists do with a layer, as ``firmware/runtime/class_lists.hpp`` and
``class_conv.hpp`` specify it; the variant ``share`` is K.

``list_work``: instructions of the list code (with DSP instructions) for one group of two words,
summed over the blocks; ``list_pairs`` and ``list_ones``: the pairs and single inputs in the lists
of all blocks, ``mixed_pairs`` those of both signs; ``mixed_steps`` and ``rest_steps``: their steps
of unrolled pairs, ``mixed_lists`` and ``rest_lists``: the classes that have some, ``minus_lists``:
those with complements; ``blocks`` of K channels; ``code_words``: words of codes in all blocks;
``classes``; ``groups`` of two words in the output, of which one inference spreads ``spreads`` words
over the channels of a block; ``padded``: codes of a block; ``lane``: words in a row of the output,
``masked`` of them with pixels beyond the width; ``stretch``: words of one channel of one row of an
expanded input; ``parts_bytes``: scratch without that. Of outputs in HWC, ``quick``: 1 where
class_hwc() does them: ``whole_words`` of a row that it writes at once, ``part_words`` and
``part_pixels`` of a row that are finished one by one. ``kind``: what becomes of the sums, 0 stored,
1 requantised, 2 with an operand of u8, 3 of another type; ``scale``: 0 with a shift of 16 to 7
bits, 1 to other bits, 2 with another shift. ``direct``: 1 where windows lie in a planar source as
it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import Conv2D, DepthwiseConv2D, Graph
from tinyrobust.kernels import classes
from tinyrobust.kernels.layers import Layer, storage
from tinyrobust.kernels.settle import settled

NAMES = frozenset({
    "list_work", "list_pairs", "mixed_pairs", "list_ones", "mixed_steps", "rest_steps",
    "mixed_lists", "rest_lists", "minus_lists", "blocks", "code_words", "classes", "groups",
    "spreads", "padded", "lane", "masked", "stretch", "parts_bytes", "quick", "whole_words",
    "part_words", "part_pixels", "kind", "scale", "direct",
})  # fmt: skip
UNROLL = 6  # lists_unroll


def counts(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> dict[str, float]:
    """Every name for a convolution, with ``share`` (or 1) channels to a block."""
    node, share = layer.node, variant.get("share", 1)
    assert isinstance(node, (Conv2D, DepthwiseConv2D))
    in_h, in_w, _ = graph.tensor[layer.source].shape
    out_h, out_w, _ = graph.tensor[node.output].shape
    codes = classes.codes(node.weights, share)
    blocks, inputs = codes.shape
    n_classes = (3**share - 1) // 2
    padded, lane = classes.padded(inputs, share), -(-out_w // 4)
    columns = (lane - 1) * node.strides[1] + node.weights.shape[2]
    lists = signs(codes, share)
    steps_bytes = 4 * (3 * n_classes + inputs // (2 * UNROLL) + 1)
    return {
        "list_work": work(lists, strided=node.strides[1] != 1 or lane == 1),
        "list_pairs": int((lists["mixed"] + lists["plus"] + lists["minus"]).sum()),
        "mixed_pairs": int(lists["mixed"].sum()),
        "list_ones": int((lists["plus_one"] + lists["minus_one"]).sum()),
        **{f"{kind}_steps": int(lists[f"{kind}_steps"].sum()) for kind in ("mixed", "rest")},
        **{f"{kind}_lists": int(np.count_nonzero(lists[f"{kind}_steps"]))
           for kind in ("mixed", "rest")},
        "minus_lists": int(np.count_nonzero(lists["minus"] + lists["minus_one"])),
        "blocks": blocks,
        "code_words": blocks * (padded // classes.PER_WORD[share]),
        "classes": n_classes,
        "groups": out_h * -(-lane // 2),
        "spreads": out_h * (1 if lane == 1 else 2 * -(-lane // 2)),
        "padded": padded,
        "lane": lane,
        "masked": lane - max(out_w - 3 * lane, 0),
        "stretch": columns,
        "direct": int(
            -(-in_w // 4) == lane * node.strides[1]
            and max(node.pads[0], node.pads[2]) <= 1
            and columns - node.pads[2] <= -(-in_w // 4) + 1
            and (out_h - 1) * node.strides[0] + node.weights.shape[1] - node.pads[0] <= in_h + 1
        ),
        "parts_bytes": (4 * (-(-padded // 2)) + 4 * 3**share + 16 * n_classes + 8 * share * lane
                        + steps_bytes + 4 * padded),
        **_hwc(layer, graph, out_w, lane),
        **finish(layer, graph),
    }  # fmt: skip


def _hwc(layer: Layer, graph: Graph, width: int, lane: int) -> dict[str, float]:
    """How a row in HWC is written: class_hwc() does words of four pixels, class_each() the rest."""
    operand = storage(graph)[layer.operand] if layer.operand else ""
    requantize = settled(layer, graph)
    quick = width >= 3 * lane and (
        requantize is None
        or (layer.finish == "quantise" and requantize.lo == 0 and operand != "i32")
    )
    whole = width - 3 * lane if quick else 0
    return {
        "quick": int(quick),
        "whole_words": whole,
        "part_words": lane - whole,
        "part_pixels": width - 4 * whole,
    }


def finish(layer: Layer, graph: Graph) -> dict[str, float]:
    """What becomes of the sums, as class_finish.hpp has it."""
    requantize = settled(layer, graph)
    if requantize is None:
        return {"kind": 0, "scale": 0}
    operand = storage(graph)[layer.operand] if layer.operand else ""
    return {
        "kind": 1 if not operand else 2 if operand == "u8" else 3,
        "scale": 2 if requantize.shift != 16 else int(requantize.hi != 127),
    }


def signs(codes: npt.NDArray[np.int64], share: int) -> dict[str, npt.NDArray[Any]]:
    """Per block and class the pairs of each kind, the single inputs and the steps of pairs."""
    full = 3**share
    count = np.stack([np.bincount(row, minlength=full) for row in codes])
    positive, negative = count[:, : full // 2], count[:, : full // 2 : -1]
    mixed = np.minimum(positive, negative)
    plus, minus = positive - mixed, negative - mixed
    return {"mixed": mixed, "plus": plus // 2, "minus": minus // 2, "plus_one": plus % 2,
            "minus_one": minus % 2, "mixed_steps": -(-mixed // UNROLL),
            "rest_steps": -(-((plus + minus) // 2) // UNROLL)}  # fmt: skip


def work(lists: Mapping[str, npt.NDArray[Any]], *, strided: bool) -> int:
    """Instructions of the list code for two words, summed over the blocks."""
    blocks, n_classes = lists["mixed"].shape
    wide = 2 if strided else 0  # a strided load of two words is two instructions
    each = {"mixed": 11 + wide, "plus": 11 + wide, "minus": 13 + wide, "plus_one": 7 + wide // 2,
            "minus_one": 9 + wide // 2}  # fmt: skip
    total = sum(each[kind] * int(lists[kind].sum()) for kind in each)
    # a step is jumped to, also the last one behind the classes; a class ends with a store
    steps = int(lists["mixed_steps"].sum() + lists["rest_steps"].sum())
    return total + 2 * blocks * n_classes + steps + blocks
