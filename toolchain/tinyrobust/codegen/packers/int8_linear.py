"""Packing ``int8_linear``: an int8 addition as a linear form, found and proved by
``kernels/counts/int8_linear.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyrobust.errors import BuildError
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.counts import int8_linear
from tinyrobust.kernels.layers import Layer

STRUCT = "LinearI8"


def arrays(layer: Layer, graph: Graph) -> dict[str, Any]:
    """No arrays."""
    return {}


def initialiser(layer: Layer, graph: Graph, names: Mapping[str, str]) -> list[Any]:
    """Values of LinearI8's members in order."""
    node: Any = layer.node
    found = int8_linear.form(node)
    if found is None:
        raise BuildError(f"layer '{layer.name}' is no linear form, yet add_linear_i8 was chosen")
    return [*found, graph.tensor[layer.output].size]
