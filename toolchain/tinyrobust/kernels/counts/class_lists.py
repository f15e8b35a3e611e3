"""What the kernels over class lists do with a layer, as ``firmware/runtime/class_lists.hpp`` and
``class_conv.hpp`` specify it; the variant ``share`` is K.

``list_work``: instructions of the list code (with DSP instructions) for one group of two words,
summed over the blocks; ``list_pairs`` and ``list_ones``: the pairs and single inputs in the lists
of all blocks; ``list_steps``: the steps; ``blocks`` of K channels; ``classes``; ``groups`` of two
words in the output; ``padded``: codes of a block; ``lane``: words in a row of the output;
``stretch``: words of one channel of one row of an expanded input; ``parts_bytes``: scratch
without that. Flags: ``other_shift`` than 16, ``other_bits`` than 7, ``operand_16``: an operand of
int16; ``direct``: windows lie in a planar source as it is.
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
    "list_work", "list_pairs", "list_ones", "list_steps", "blocks", "classes", "groups", "padded",
    "lane", "stretch", "parts_bytes", "other_shift", "other_bits", "operand_16",
    "direct",
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
        "list_ones": int((lists["plus_one"] + lists["minus_one"]).sum()),
        "list_steps": int(lists["steps"].sum()),
        "blocks": blocks,
        "classes": n_classes,
        "groups": out_h * -(-lane // 2),
        "padded": padded,
        "lane": lane,
        "stretch": columns,
        "direct": int(
            -(-in_w // 4) == lane * node.strides[1]
            and max(node.pads[0], node.pads[2]) <= 1
            and columns - node.pads[2] <= -(-in_w // 4) + 1
            and (out_h - 1) * node.strides[0] + node.weights.shape[1] - node.pads[0] <= in_h + 1
        ),
        "parts_bytes": (4 * (-(-padded // 2)) + 4 * 3**share + 16 * n_classes + 8 * share * lane
                        + steps_bytes + 4 * padded),
        **finish(layer, graph),
    }  # fmt: skip


def finish(layer: Layer, graph: Graph) -> dict[str, float]:
    """The flags of what becomes of the sums."""
    requantize = settled(layer, graph)
    return {
        "other_shift": int(requantize is not None and requantize.shift != 16),
        "other_bits": int(requantize is not None and requantize.shift == 16
                          and requantize.hi != 127),
        "operand_16": int(bool(layer.operand) and storage(graph)[layer.operand] == "i16"),
    }  # fmt: skip


def signs(codes: npt.NDArray[np.int64], share: int) -> dict[str, npt.NDArray[Any]]:
    """Per block and class the pairs of each kind, the single inputs and the steps."""
    full = 3**share
    count = np.stack([np.bincount(row, minlength=full) for row in codes])
    positive, negative = count[:, : full // 2], count[:, : full // 2 : -1]
    mixed = np.minimum(positive, negative)
    plus, minus = positive - mixed, negative - mixed
    steps = -(-mixed // UNROLL) + -(-((plus + minus) // 2) // UNROLL) + 1
    return {"mixed": mixed, "plus": plus // 2, "minus": minus // 2, "plus_one": plus % 2,
            "minus_one": minus % 2, "steps": steps}  # fmt: skip


def work(lists: Mapping[str, npt.NDArray[Any]], *, strided: bool) -> int:
    """Instructions of the list code for two words, summed over the blocks."""
    blocks, n_classes = lists["mixed"].shape
    wide = 2 if strided else 0  # a strided load of two words is two instructions
    each = {"mixed": 11 + wide, "plus": 11 + wide, "minus": 13 + wide, "plus_one": 7 + wide // 2,
            "minus_one": 9 + wide // 2}  # fmt: skip
    total = sum(each[kind] * int(lists[kind].sum()) for kind in each)
    # a step is jumped to, also the last one behind the classes; a class ends with a store
    return total + blocks * n_classes + int(lists["steps"].sum()) + blocks
