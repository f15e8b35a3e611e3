"""The integer Graph, and all that it is made of, under one name to import from.

The nodes of family ``fixed`` are defined in ``fixed.py``, those of ``tflite`` in ``int8.py``, what
can be asked of a Graph in ``structure.py``, its rules in ``verify.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyrobust.graph.base import INT16, INT32, Int8, Int32, Node, Port, Reshape, Tensor
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
from tinyrobust.graph.structure import ENTRIES, FAMILIES, NODE_TYPES, SCORES, Structure
from tinyrobust.graph.verify import verify

__all__ = [
    "ENTRIES",
    "FAMILIES",
    "INT16",
    "INT32",
    "NODE_TYPES",
    "SCORES",
    "TERNARY",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "GlobalAveragePool",
    "Graph",
    "Input",
    "Int8",
    "Int32",
    "Node",
    "Pool2D",
    "Port",
    "Requantize",
    "Reshape",
    "Tensor",
    "Ternary",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Graph(Structure):
    """A verified integer network: ``nodes`` in execution order over ``tensors``.

    The nodes that take an input stand first. Without ``outputs`` it is a classifier: one input,
    and the last node gives the scores, int32 (classes,), which ``labels`` name. With ``outputs``
    (family ``tflite``) these tensors leave as they are, in that order, and there are no labels.
    Raises GraphError on construction when a rule is broken (``verify.py``).
    """

    def __post_init__(self) -> None:
        verify(self)
