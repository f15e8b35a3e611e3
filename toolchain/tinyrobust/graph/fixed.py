"""The nodes of arithmetic family ``fixed``: the rules that hls4ml gives a QKeras model.

All tensors are integer arrays in HWC order; the batch axis exists in the interpreter only. A
tensor's real value is ``integer * 2**-frac_bits`` (see ``convert/``). Every node is defined by
exact integers, written in its docstring; ``interpreter.py`` is that definition in numpy. Family
``tflite``: ``int8.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinyrobust.graph.base import Int8, Int32, Node, Reshape


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
NODES: tuple[type[Node], ...] = (
    Input, *TERNARY, Requantize, Pool2D, GlobalAveragePool, Reshape,
)  # fmt: skip
