"""The integer Graph, and all that it is made of, under one name to import from.

The nodes of family ``fixed`` are defined in ``fixed.py``, those of ``tflite`` in ``int8.py``, what
can be asked of a Graph in ``structure.py``, its rules in ``verify.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyrobust.graph.base import INT16, INT32, Int8, Int32, Node, Reshape, Tensor
from tinyrobust.graph.fixed import (
    TERNARY,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Input,
    Pool2D,
    Requantize,
    Ternary,
)  # fmt: skip
from tinyrobust.graph.structure import FAMILIES, NODE_TYPES, Structure
from tinyrobust.graph.verify import verify

__all__ = [
    "FAMILIES", "INT16", "INT32", "NODE_TYPES", "TERNARY", "Conv2D", "Dense", "DepthwiseConv2D",
    "GlobalAveragePool", "Graph", "Input", "Int8", "Int32", "Node", "Pool2D", "Requantize",
    "Reshape", "Tensor", "Ternary",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Graph(Structure):
    """A verified integer network: ``nodes`` in execution order over ``tensors``.

    The first node is the Input, the last one gives the scores, int32 (classes,).
    Raises GraphError on construction when a rule is broken (``verify.py``).
    """

    def __post_init__(self) -> None:
        verify(self)
