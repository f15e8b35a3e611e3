"""Packing ``class_ranks``: the codes of every block of ``share`` channels in whole words;
``firmware/runtime/class_codes.hpp`` specifies it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import Layer, classes


def pack(weights: npt.NDArray[np.int8], share: int) -> npt.NDArray[np.uint32]:
    """uint32 words, block after block."""
    codes = classes.codes(weights, share)
    fill = classes.padded(codes.shape[1], share) - codes.shape[1]
    codes = np.pad(codes, ((0, 0), (0, fill)), constant_values=3**share // 2)
    per_word, bits = classes.PER_WORD[share], classes.BITS[share]
    shifts = np.arange(per_word, dtype=np.uint64) * np.uint64(bits)
    words = (codes.reshape(-1, per_word).astype(np.uint64) << shifts).sum(axis=1, dtype=np.uint64)
    return words.astype(np.uint32)


def pack_layer(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> npt.NDArray[np.uint32]:
    """``pack`` of the layer's weights for its variant."""
    return pack(layer.node.arrays["weights"], variant.get("share", 1))
