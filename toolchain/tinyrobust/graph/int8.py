"""The nodes of family ``tflite``: TensorFlow Lite's reference int8 arithmetic, node by node.

Every tensor but the scores, and inputs and states that are int16 or int32, is int8, held as ``q``
in -128..127; its real value is ``(q - zero_point) * scale``. Scales are gone from the nodes: what
is left are the int32 multipliers, shifts and tables that TensorFlow Lite's reference kernels
(TF 2.15.1, ``OpResolverType.BUILTIN_REF``) derive from them. The batch of 1 is no axis here.
Shapes of fewer than three axes stand for the same with ones in front, and ``(y, x, c)`` triples in
nodes count that way.

``mbqm(x, m, s)``, TensorFlow Lite's MultiplyByQuantizedMultiplier with its two roundings:
``h = (x * 2**max(s, 0) * m + 2**30) >> 31``, then ``h * 2**min(s, 0)`` rounded to the nearest,
halves away from zero. ``m`` is 0 or in 2**30..2**31-1. The verifier proves that every ``x`` fits
int32; ``x * 2**max(s, 0)`` wraps to int32, as the reference's does (only saturated channels get
there). ``clamp`` is to the node's ``lo..hi``.

``interpreter_int8.py`` is these definitions in numpy; ``convert/tflite*.py`` makes the nodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinyrobust.graph.base import Int8, Int32, Node


def _no_int8() -> Int8:
    return np.zeros((0,), np.int8)


def _no_int32() -> Int32:
    return np.zeros((0,), np.int32)


@dataclass(frozen=True)
class InputInt8(Node):
    """``q = x - 128`` for an input of uint8 ``x``; ``inputs`` is empty."""

    op: ClassVar[str] = "input_int8"


@dataclass(frozen=True)
class InputRaw(Node):
    """An input as it is: int8, int16 or int32 ``q`` of any shape; ``inputs`` is empty."""

    op: ClassVar[str] = "input_raw"


@dataclass(frozen=True)
class State(Node):
    """A tensor that survives: what the run before left in it; before the first run ``initial``,
    int8, int16 or int32 of the tensor's shape. ``inputs`` is empty. It is read until it is
    assigned."""

    op: ClassVar[str] = "state"
    initial: Int8 = field(default_factory=_no_int8)


@dataclass(frozen=True)
class Assign(Node):
    """The second of ``inputs``, a State's tensor, becomes the first from here on; the output, what
    the next run finds, lies where the state lies."""

    op: ClassVar[str] = "assign"


@dataclass(frozen=True)
class ScoresInt8(Node):
    """The last node of a classifier: int8 ``q`` of any shape as int32 (size,), in C order."""

    op: ClassVar[str] = "scores_int8"


@dataclass(frozen=True)
class Weighted(Node):
    """What convolutions and matrix products share.

    ``q_out[..., o] = clamp(mbqm(acc[..., o], multipliers[o], shifts[o]) + output_zero)`` where
    ``acc[..., o] = bias[o] + sum w * (q - input_zero)`` over the taps inside the input: padding
    adds nothing. ``weight_bits`` 4 says that every weight lies in -8..7.
    """

    weights: Int8 = field(default_factory=_no_int8)
    bias: Int32 = field(default_factory=_no_int32)
    multipliers: Int32 = field(default_factory=_no_int32)
    shifts: Int32 = field(default_factory=_no_int32)
    input_zero: int = 0
    output_zero: int = 0
    lo: int = -128
    hi: int = 127
    weight_bits: int = 8

    @property
    def per_channel(self) -> Int8:
        """The weights as (output channels, taps of one channel)."""
        return self.weights.reshape(len(self.weights), -1)


@dataclass(frozen=True)
class Conv2DInt8(Weighted):
    """CONV_2D: ``w[o,i,j,c] * (q[y*s0-top+i*d0, x*s1-left+j*d1, c] - input_zero)``.

    ``weights``: (OC, KH, KW, IC). ``strides`` s, ``dilations`` d: (vertical, horizontal).
    ``pads``: (top, bottom, left, right).
    """

    op: ClassVar[str] = "conv2d_int8"
    weights: Int8 = field(default_factory=_no_int8)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def macs(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape[:-1]) * int(self.weights.size)


@dataclass(frozen=True)
class DepthwiseConv2DInt8(Weighted):
    """DEPTHWISE_CONV_2D: output channel ``o`` reads input channel ``o // depth_multiplier``.

    ``weights``: (KH, KW, OC). The rest as Conv2DInt8.
    """

    op: ClassVar[str] = "depthwise_conv2d_int8"
    weights: Int8 = field(default_factory=_no_int8)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    depth_multiplier: int = 1

    @property
    def per_channel(self) -> Int8:
        return self.weights.reshape(-1, self.weights.shape[-1]).T

    def macs(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape[:-1]) * int(self.weights.size)


@dataclass(frozen=True)
class DenseInt8(Weighted):
    """FULLY_CONNECTED: every run of IN elements of the input is a row that gives OUT elements.

    ``weights``: (OUT, IN); the output's last axis is OUT.
    """

    op: ClassVar[str] = "dense_int8"
    weights: Int8 = field(default_factory=_no_int8)

    def macs(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape[:-1]) * int(self.weights.size)


@dataclass(frozen=True)
class AveragePool2DInt8(Node):
    """AVERAGE_POOL_2D: the sum over the part of the window inside the input, divided by the
    number of elements in that part, rounded to the nearest, halves away from zero; clamp.
    ``pads`` as in Conv2DInt8."""

    op: ClassVar[str] = "average_pool_int8"
    size: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    lo: int = -128
    hi: int = 127


@dataclass(frozen=True)
class MaxPool2DInt8(AveragePool2DInt8):
    """MAX_POOL_2D: the largest element of the part of the window inside the input; clamp."""

    op: ClassVar[str] = "max_pool_int8"


@dataclass(frozen=True)
class MeanInt8(Node):
    """MEAN over those of the axes (y, x, c) whose entry in ``axes`` is 1:
    ``q = clamp(mbqm(sum (q - input_zero), multiplier, shift) + output_zero, -128, 127)``;
    ``multiplier`` and ``shift`` hold the division by the number of elements."""

    op: ClassVar[str] = "mean_int8"
    axes: tuple[int, int, int] = (1, 1, 0)
    multiplier: int = 0
    shift: int = 0
    input_zero: int = 0
    output_zero: int = 0


@dataclass(frozen=True)
class Binary(Node):
    """An operation of two operands ``a`` and ``b`` of equal shape, or broadcast: an axis of 1
    repeats. ``inputs`` names both; or one, and ``constant`` is ``b`` (``a`` with
    ``constant_first``)."""

    constant: Int8 = field(default_factory=_no_int8)
    constant_first: bool = False


@dataclass(frozen=True)
class AddInt8(Binary):
    """ADD: ``u = mbqm((a - input_zeros[0]) * 2**20, multipliers[0], shifts[0])``, ``v`` likewise
    of ``b``; ``q = clamp(mbqm(u + v, multipliers[2], shifts[2]) + output_zero)``. No shift is
    above 0."""

    op: ClassVar[str] = "add_int8"
    input_zeros: tuple[int, int] = (0, 0)
    output_zero: int = 0
    multipliers: tuple[int, int, int] = (0, 0, 0)
    shifts: tuple[int, int, int] = (0, 0, 0)
    lo: int = -128
    hi: int = 127


@dataclass(frozen=True)
class SubInt8(AddInt8):
    """SUB: as AddInt8 with ``u - v``."""

    op: ClassVar[str] = "sub_int8"


@dataclass(frozen=True)
class MulInt8(Binary):
    """MUL: ``q = clamp(mbqm((a - input_zeros[0]) * (b - input_zeros[1]), multiplier, shift) +
    output_zero)``."""

    op: ClassVar[str] = "mul_int8"
    input_zeros: tuple[int, int] = (0, 0)
    output_zero: int = 0
    multiplier: int = 0
    shift: int = 0
    lo: int = -128
    hi: int = 127


@dataclass(frozen=True)
class MinimumInt8(Binary):
    """MINIMUM of the two integers."""

    op: ClassVar[str] = "minimum_int8"


@dataclass(frozen=True)
class MaximumInt8(Binary):
    """MAXIMUM of the two integers."""

    op: ClassVar[str] = "maximum_int8"


@dataclass(frozen=True)
class PadInt8(Node):
    """PAD and PADV2: ``before`` and ``after`` (y, x, c) elements of ``value`` around the input."""

    op: ClassVar[str] = "pad_int8"
    before: tuple[int, int, int] = (0, 0, 0)
    after: tuple[int, int, int] = (0, 0, 0)
    value: int = 0


@dataclass(frozen=True)
class ConcatInt8(Node):
    """CONCATENATION of the inputs along ``axis``: 0, 1, 2 for y, x, c."""

    op: ClassVar[str] = "concat_int8"
    axis: int = 2


@dataclass(frozen=True)
class StridedSliceInt8(Node):
    """STRIDED_SLICE, and one output of SPLIT: ``q[y,x,c] = in[begin + strides * (y,x,c)]``."""

    op: ClassVar[str] = "strided_slice_int8"
    begin: tuple[int, int, int] = (0, 0, 0)
    strides: tuple[int, int, int] = (1, 1, 1)


@dataclass(frozen=True)
class ResizeNearestInt8(Node):
    """RESIZE_NEAREST_NEIGHBOR: ``q[y,x,c] = in[rows[y], columns[x], c]``, int32 indices."""

    op: ClassVar[str] = "resize_nearest_int8"
    rows: Int32 = field(default_factory=_no_int32)
    columns: Int32 = field(default_factory=_no_int32)


@dataclass(frozen=True)
class ResizeBilinearInt8(Node):
    """RESIZE_BILINEAR in the reference's 10-bit fixed point.

    ``rows``: int32 (out rows, 3), of each the two source rows and the weight ``f`` of the second,
    in 1/1024; ``columns`` likewise. With ``a``, ``b`` the two rows at the two columns ``v = sum of
    q * (1024 - f or f of the row) * (1024 - f or f of the column)``; ``q = (v + 2**19) / 2**20``
    for ``v`` above 0, else ``(v - 2**19) / 2**20``, cut off towards zero.
    """

    op: ClassVar[str] = "resize_bilinear_int8"
    rows: Int32 = field(default_factory=_no_int32)
    columns: Int32 = field(default_factory=_no_int32)


@dataclass(frozen=True)
class RearrangeInt8(Node):
    """Values elsewhere: TRANSPOSE, TILE, BROADCAST_TO, SPACE_TO_DEPTH, ...

    Output element ``(i0, ..., i5)`` of the loops ``sizes``, counted in C order, is element ``begin
    + sum of i * steps`` of the input, both flat. A step is 0 where elements repeat, negative where
    they run backwards.
    """

    op: ClassVar[str] = "rearrange_int8"
    sizes: tuple[int, int, int, int, int, int] = (1, 1, 1, 1, 1, 1)
    steps: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)
    begin: int = 0


@dataclass(frozen=True)
class LookupInt8(Node):
    """Any function of one int8 value: ``q_out = table[q + 128]``, int8 (256,)."""

    op: ClassVar[str] = "lookup_int8"
    table: Int8 = field(default_factory=_no_int8)


@dataclass(frozen=True)
class SoftmaxInt8(Node):
    """SOFTMAX over the last axis; output scale 1/256, zero point -128.

    ``exponentials``: int32 (256,), ``e[d]`` = exp(-d * beta * scale) in Q0.31 as gemmlowp's
    exp_on_negative_values gives it; 0 where the reference skips the element. Per row, with
    ``d = max - q``:

    * ``sum = sum of (e[d] rounded to 2**-12, halves away from zero)``, Q12.19;
    * ``h = leading zeros of sum`` (uint32); ``r = (sum << h) - 2**31``, an int32 in Q0.31;
    * ``s`` = gemmlowp's one_over_one_plus_x_for_x_in_0_1(r), Q0.31 (``reciprocal`` in
      interpreter_int8.py);
    * ``q_out = min(rdivpot(srdhm(s, e[d]), (12 - h) + 31 - 8) - 128, 127)``, ``srdhm`` the high
      half of ``mbqm`` and ``rdivpot`` its second rounding. An exponent k above 31 (rows of 512
      elements and more that are nearly equal) is undefined in the reference; on x86 its
      ``rdivpot(x, k)`` gives ``(x >> (k - 32)) + 1``, which is kept, and 0 where ``e[d]`` is 0.
    """

    op: ClassVar[str] = "softmax_int8"
    exponentials: Int32 = field(default_factory=_no_int32)


NODES: tuple[type[Node], ...] = (
    InputInt8, InputRaw, Conv2DInt8, DepthwiseConv2DInt8, DenseInt8, AveragePool2DInt8,
    MaxPool2DInt8, MeanInt8, AddInt8, SubInt8, MulInt8, MinimumInt8, MaximumInt8, PadInt8,
    ConcatInt8, StridedSliceInt8, ResizeNearestInt8, ResizeBilinearInt8, RearrangeInt8,
    LookupInt8, SoftmaxInt8, State, Assign, ScoresInt8,
)  # fmt: skip
