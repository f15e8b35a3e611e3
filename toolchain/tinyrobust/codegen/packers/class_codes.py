"""Packing ``class_codes``: one byte for an input's trits of four output channels, cut into parts;
``firmware/kernels/conv2d_tg_u8/geometry.hpp`` specifies it, ``kernels/tg.py`` computes it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import Conv2D, Graph
from tinyrobust.kernels import Layer, tg


def pack_layer(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> npt.NDArray[np.uint32]:
    """The codes as words; ``variant['split']`` limits the inputs of a part."""
    node = layer.node
    assert isinstance(node, Conv2D)
    shapes = graph.tensor[layer.source].shape, graph.tensor[layer.output].shape
    geometry = tg.Geometry.of(node, *shapes, variant["split"])
    return tg.stream(node.weights, geometry).view("<u4").astype(np.uint32)
