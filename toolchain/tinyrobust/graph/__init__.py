"""Stage ``graph``: the integer Graph, the specification of what every back end must compute.

In: nodes built by ``convert``. Out: a verified, hashable Graph, its file, and its meaning, the
numpy interpreter. The file format is specified in ``graph/file.py``.
"""

from tinyrobust.graph.interpreter import advance, begin, call, run, trace
from tinyrobust.graph.nodes import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    Node,
    Pool2D,
    Requantize,
    Reshape,
    Tensor,
)

__all__ = [
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "GlobalAveragePool",
    "Graph",
    "Input",
    "Node",
    "Pool2D",
    "Requantize",
    "Reshape",
    "Tensor",
    "advance",
    "begin",
    "call",
    "run",
    "trace",
]
