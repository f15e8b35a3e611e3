"""The integer Graph, and the nodes of arithmetic family ``fixed``.

All tensors are integer arrays in HWC order; the batch axis exists in the interpreter only.
Family ``fixed``: the rules that hls4ml gives a QKeras model (see ``convert/``); a tensor's real
value is ``integer * 2**-frac_bits``. Family ``tflite``: ``int8.py``. Every node is defined by
exact integers, written in its docstring; ``interpreter.py`` is that definition in numpy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tinyrobust.artefact import canonical_json
from tinyrobust.graph import int8
from tinyrobust.graph.base import INT16, INT32, Int8, Int32, Node, Reshape, Tensor

__all__ = [
    "FAMILIES", "INT16", "INT32", "NODE_TYPES", "TERNARY", "Conv2D", "Dense", "DepthwiseConv2D",
    "GlobalAveragePool", "Graph", "Input", "Int8", "Int32", "Node", "Pool2D", "Requantize",
    "Reshape", "Tensor", "Ternary",
]  # fmt: skip


@dataclass(frozen=True)
class Input(Node):
    """``q = x >> shift`` for uint8 ``x``; ``inputs`` is empty."""

    op: ClassVar[str] = "input"
    shift: int = 1


@dataclass(frozen=True)
class Conv2D(Node):
    """Ternary convolution, exact: ``acc[y,x,o] = sum w[o,i,j,c] * q[y*s0-top+i, x*s1-left+j, c]``.

    ``weights``: int8 (OC, KH, KW, IC) in {-1, 0, 1}. ``pads``: (top, bottom, left, right),
    zeros (the code of zero is 0). ``strides``: (vertical, horizontal).
    """

    op: ClassVar[str] = "conv2d"
    weights: Int8 = field(default_factory=lambda: np.zeros((0, 0, 0, 0), np.int8))
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def macs(self, shape: tuple[int, ...]) -> int:
        return shape[0] * shape[1] * int(self.weights.size)


@dataclass(frozen=True)
class DepthwiseConv2D(Node):
    """Ternary convolution of every channel by itself, exact:
    ``acc[y,x,c] = sum w[c,i,j] * q[y*s0-top+i, x*s1-left+j, c]``.

    ``weights``: int8 (C, KH, KW) in {-1, 0, 1}. ``pads`` and ``strides`` as in ``Conv2D``.
    """

    op: ClassVar[str] = "depthwise_conv2d"
    weights: Int8 = field(default_factory=lambda: np.zeros((0, 0, 0), np.int8))
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def macs(self, shape: tuple[int, ...]) -> int:
        return shape[0] * shape[1] * int(self.weights.size)


@dataclass(frozen=True)
class Dense(Node):
    """Ternary matrix product, exact: ``acc[o] = sum w[o,i] * q[i]``; int8 weights (OUT, IN)."""

    op: ClassVar[str] = "dense"
    weights: Int8 = field(default_factory=lambda: np.zeros((0, 0), np.int8))

    def macs(self, shape: tuple[int, ...]) -> int:
        return int(self.weights.size)


@dataclass(frozen=True)
class Requantize(Node):
    """Scale, shift, add one or two branches, round, clamp; the only place where scales live.

    ``t[c] = bias[c] + sum_i ((multipliers[i][c] * acc_i[..., c]) >> 16)``, each branch floored
    by itself, then ``q = clamp((t + half) >> shift, lo, hi)``, ``half = 2**(shift-1)`` (0 when
    ``shift`` is 0). With ``scores`` the output is ``t`` itself, int32, without clamp.
    ``multipliers``: int32 (branches, C); ``bias``: int32 (C,). The product and all sums fit as
    the verifier proves: acc times m in int48 (SMLAWB/SMULL), every partial t in int32.
    """

    op: ClassVar[str] = "requantize"
    multipliers: Int32 = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    bias: Int32 = field(default_factory=lambda: np.zeros((0,), np.int32))
    shift: int = 0
    lo: int = 0
    hi: int = 127
    scores: bool = False


@dataclass(frozen=True)
class Pool2D(Node):
    """Pooling over ``size`` windows without padding. ``kind`` max, or average:
    ``q = floor((sum + rounding) / (size[0] * size[1]))``, ``rounding`` and ``half_even`` as in
    ``GlobalAveragePool`` (0 and False with ``max``)."""

    op: ClassVar[str] = "pool2d"
    kind: str = "max"
    size: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)
    rounding: int = 0
    half_even: bool = False


@dataclass(frozen=True)
class GlobalAveragePool(Node):
    """``q[c] = floor((sum of q[:,:,c] + rounding) / (H*W))``.

    ``rounding`` is 0 (hls4ml's floor) or H*W//2 (exact mean, then half-up rounding). With
    ``half_even``, which needs the latter, an exact half goes to the even neighbour: IEEE 754's
    roundTiesToEven, QKeras's rounding, ``AP_RND_CONV`` in hls4ml.
    """

    op: ClassVar[str] = "global_average_pool"
    rounding: int = 0
    half_even: bool = False


Ternary = Conv2D | DepthwiseConv2D | Dense
TERNARY = (Conv2D, DepthwiseConv2D, Dense)
_FIXED: tuple[type[Node], ...] = (
    Input, *TERNARY, Requantize, Pool2D, GlobalAveragePool, Reshape,
)  # fmt: skip
FAMILIES: dict[str, dict[str, type[Node]]] = {
    "fixed": {t.op: t for t in _FIXED},
    "tflite": {t.op: t for t in int8.NODES} | {Reshape.op: Reshape},
}
NODE_TYPES: dict[str, type[Node]] = FAMILIES["fixed"] | FAMILIES["tflite"]


@dataclass(frozen=True, eq=False)
class Graph:
    """A verified integer network: ``nodes`` in execution order over ``tensors``.

    The first node is the Input, the last one gives the scores, int32 (classes,).
    Raises GraphError on construction when a rule is broken (``graph/verify.py``).
    """

    name: str
    task: str
    labels: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    made_from: str = ""  # content hash of the trained model
    family: str = "fixed"

    def __post_init__(self) -> None:
        from tinyrobust.graph.verify import verify

        verify(self)

    @cached_property
    def tensor(self) -> dict[str, Tensor]:
        """Tensors by name."""
        return {t.name: t for t in self.tensors}

    @cached_property
    def node(self) -> dict[str, Node]:
        """Nodes by name."""
        return {n.name: n for n in self.nodes}

    @property
    def input(self) -> Tensor:
        """The tensor that the Input node makes; its shape is the image's."""
        return self.tensor[self.nodes[0].output]

    @property
    def output(self) -> Tensor:
        """The scores."""
        return self.tensor[self.nodes[-1].output]

    def consumers(self, tensor: str) -> Iterator[Node]:
        """Nodes that read ``tensor``."""
        return (n for n in self.nodes if tensor in n.inputs)

    def producer(self, tensor: str) -> Node:
        """The node that makes ``tensor``."""
        return next(n for n in self.nodes if n.output == tensor)

    def header(self) -> dict[str, Any]:
        """Everything but the arrays, as plain data (stored in the file, hashed)."""
        return {
            "name": self.name,
            "task": self.task,
            "family": self.family,
            "labels": list(self.labels),
            "made_from": self.made_from,
            "tensors": [t.header() for t in self.tensors],
            "nodes": [
                {"op": n.op, "name": n.name, "inputs": list(n.inputs), "output": n.output,
                 "arrays": sorted(n.arrays),
                 **{k: list(v) if isinstance(v, tuple) else v for k, v in n.scalars.items()}}
                for n in self.nodes
            ],
        }  # fmt: skip

    @cached_property
    def sha256(self) -> str:
        """Content hash of everything the device must know: header and arrays."""
        digest = hashlib.sha256(canonical_json(self.header()).encode())
        for node in self.nodes:
            for key in sorted(node.arrays):
                array = node.arrays[key]
                digest.update(f"{node.name}/{key}{array.shape}{array.dtype.str}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def macs(self, node: Node) -> int:
        """Dense multiply-accumulates of ``node`` (zeros counted), 0 for other operations."""
        if node.output not in self.tensor:  # a step that is no node of the Graph
            return 0
        return node.macs(self.tensor[node.output].shape)
