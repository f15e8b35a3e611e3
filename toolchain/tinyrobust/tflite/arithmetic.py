"""The integers that TensorFlow Lite's reference kernels derive from scales, as they derive them.

In: the scales, zero points and options of a file, float32 as there. Out: multipliers, shifts,
ranges and tables for the nodes of ``graph/int8.py``. Where a kernel computes in float32, so does
this; the kernels are those that TF 2.15.1 runs under ``BUILTIN_REF`` (tensorflow/lite/kernels),
and ``tests/tflite/test_tflite_operators.py`` holds every one of these functions to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.interpreter_int8 import divide_by_power, high_mul, multiply

Table = npt.NDArray[np.int8]
INT32_MAX = (1 << 31) - 1
_f32 = np.float32
_CODES = np.arange(-128, 128, dtype=np.int64)


def round_away(x: float) -> int:
    """std::round: to the nearest, halves away from zero. ValueError where it has no integer."""
    if not math.isfinite(x):
        raise ValueError("scales so far apart that a float32 overflows")
    return math.floor(x + 0.5) if x >= 0 else -math.floor(-x + 0.5)


def quantize_multiplier(real: float, largest: int = 30) -> tuple[int, int]:
    """QuantizeMultiplier: ``real`` as (multiplier in Q0.31, power of two); 0 when it is tiny.

    Raises ValueError when the power is above ``largest``: no int32 could be shifted so far.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_away(fraction * (1 << 31))
    if abs(multiplier) == 1 << 31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > largest:
        raise ValueError(f"scales with the ratio {real:.3g}")
    return multiplier, shift


def product_scale(input_scale: float, weight_scale: float, output_scale: float) -> float:
    """The effective scale of a convolution, in double."""
    return float(input_scale) * float(weight_scale) / float(output_scale)


def dense_scale(input_scale: float, weight_scale: float, output_scale: float) -> float:
    """The effective scale of FULLY_CONNECTED with one scale: the product is float32."""
    return float(_f32(input_scale) * _f32(weight_scale)) / float(output_scale)


def mul_scale(first: float, second: float, out: float) -> float:
    """The effective scale of MUL, in float32."""
    return float(_f32(first) * _f32(second) / _f32(out))


def activation_range(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """CalculateActivationRangeQuantized: the clamp of a fused activation."""

    def code(real: float) -> int:
        return zero_point + round_away(float(_f32(real) / _f32(scale)))

    if activation == "RELU":
        return max(-128, code(0.0)), 127
    if activation == "RELU6":
        return max(-128, code(0.0)), min(127, code(6.0))
    if activation == "RELU_N1_TO_1":
        return max(-128, code(-1.0)), min(127, code(1.0))
    return -128, 127


def mean_multiplier(input_scale: float, output_scale: float, count: int) -> tuple[int, int]:
    """QuantizedMeanOrSum: the ratio of the scales with the division by ``count`` in it."""
    multiplier, shift = quantize_multiplier(float(input_scale) / float(output_scale))
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << extra) // count, shift - extra


def add_multipliers(
    first: float, second: float, out: float
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """PrepareGeneralAddOp: (multipliers, shifts) of both operands and of the sum.

    Raises ValueError where TensorFlow Lite aborts: the sum's multiplier is not below 1.
    """
    twice = float(2 * max(_f32(first), _f32(second)))  # a power of two: float32 is exact
    real = (float(first) / twice, float(second) / twice, twice / (float(1 << 20) * float(out)))
    if not 0.0 < real[2] < 1.0:
        raise ValueError(f"an output scale of {out:.3g} for inputs of {first:.3g} and {second:.3g}")
    (m0, s0), (m1, s1), (m2, s2) = (quantize_multiplier(r) for r in real)
    return (m0, m1, m2), (s0, s1, s2)


def _table(codes: npt.NDArray[np.int64]) -> Table:
    return np.clip(codes, -128, 127).astype(np.int8)


def requantize_table(scale: float, zero: int, out_scale: float, out_zero: int) -> Table:
    """QUANTIZE of int8: the ratio of the scales is a double."""
    m, s = quantize_multiplier(float(scale) / float(out_scale))
    return _table(multiply(_CODES - zero, m, s) + out_zero)


def relu_table(
    low: float, high: float, scale: float, zero: int, out_scale: float, out_zero: int
) -> Table:
    """RELU, RELU6, RELU_N1_TO_1 as operators of their own: the ratio is a float32."""
    m, s = quantize_multiplier(float(_f32(scale) / _f32(out_scale)))

    def code(real: float) -> int:
        return out_zero + round_away(float(_f32(real) / _f32(out_scale)))

    codes = np.maximum(multiply(_CODES - zero, m, s) + out_zero, max(-128, code(low)))
    return _table(codes if math.isinf(high) else np.minimum(codes, code(high)))


def leaky_relu_table(
    alpha: float, scale: float, zero: int, out_scale: float, out_zero: int
) -> Table:
    """LEAKY_RELU: one multiplier for each sign."""
    identity = quantize_multiplier(float(_f32(scale) / _f32(out_scale)))
    slope = quantize_multiplier(float(_f32(scale) * _f32(alpha) / _f32(out_scale)))
    x = _CODES - zero
    return _table(np.where(x >= 0, multiply(x, *identity), multiply(x, *slope)) + out_zero)


def function_table(
    function: Callable[[float], float], scale: float, zero: int, out_scale: float, out_zero: int
) -> Table:
    """LOGISTIC and TANH: float32 around the function, whose own result is rounded to float32."""
    inverse = _f32(1) / _f32(out_scale)
    codes = []
    for q in _CODES.tolist():
        real = _f32(scale) * _f32(q - zero)
        rescaled = _f32(round_away(float(_f32(function(float(real))) * inverse)))
        codes.append(int(rescaled + _f32(out_zero)))
    return _table(np.array(codes, np.int64))


def logistic(x: float) -> float:
    """1 / (1 + exp(-x)) as a float32 program computes it."""
    e = _f32(math.exp(-x)) if x > -88.7 else _f32(np.inf)
    return float(_f32(1) / (_f32(1) + e))


def exponential(x: float) -> float:
    """std::exp of a float32."""
    return math.exp(x) if x < 88.8 else math.inf


def logarithm(x: float) -> float:
    """std::log of a float32; of 0 and below what is smaller than every code, as on x86."""
    return math.log(x) if x > 0 else -1e9


def elu(x: float) -> float:
    """ELU of a float32."""
    return math.expm1(x) if x < 0 else x


def gelu(x: float) -> float:
    """GELU by the error function, in float32."""
    inner = _f32(math.erf(float(_f32(x) * _f32(math.sqrt(0.5)))))
    return float(_f32(0.5) * _f32(x) * (_f32(1) + inner))


def gelu_tanh(x: float) -> float:
    """GELU by its approximation with tanh, in float32."""
    real = _f32(x)
    cube = _f32(0.044715) * real * real * real
    inner = _f32(math.tanh(float(_f32(math.sqrt(2 / math.pi)) * (real + cube))))
    return float(_f32(0.5) * real * (_f32(1) + inner))


def abs_table(scale: float, zero: int, out_scale: float, out_zero: int) -> Table:
    """ABS: the ratio of the scales is a float32."""
    m, s = quantize_multiplier(float(_f32(scale) / _f32(out_scale)))
    magnitude = np.abs(_CODES - zero)
    return _table((magnitude if scale == out_scale else multiply(magnitude, m, s)) + out_zero)


def _inverse_square_root(n: int) -> tuple[int, int]:
    """1 / sqrt(``n``), n >= 1, as (multiplier in Q0.31, power of two): TensorFlow Lite's
    GetInvSqrtQuantizedMultiplierExp, five Newton-Raphson steps ``x += x * (1 - n * x**2) / 2`` in
    Q3.28 with ``n`` scaled to [1/4, 1) by an even power of two.
    """
    if n <= 1:
        return INT32_MAX, 0
    pairs = (31 - n.bit_length()) // 2 - 1
    shift = 11 - pairs
    value = n << 2 * pairs >> 1
    half, x = int(divide_by_power(value, 1)), 1 << 28
    for _ in range(5):
        cube = int(high_mul(high_mul(x, x), x)) << 6
        step = int(high_mul(3 << 27, x)) - int(high_mul(half, cube))
        x = min(step << 3, INT32_MAX)
    multiplier = int(high_mul(x, 1518500250))  # sqrt(2) / 2 in Q0.31
    return (multiplier << -shift, 0) if shift < 0 else (multiplier, -shift)


def rsqrt_table(scale: float, zero: int, out_scale: float, out_zero: int) -> Table:
    """RSQRT: 1 / sqrt(x) in fixed point, with 20 bits below the point in between.

    Codes of 0 and below get the largest code: the reference gives it for 0, and stops at a
    negative value. Raises ValueError for scales whose product is 0 in float32.
    """
    product = float(np.sqrt(_f32(scale)) * _f32(out_scale))
    if product == 0.0:
        raise ValueError(
            f"scales of {scale:.3g} and {out_scale:.3g}: their product is 0 in float32"
        )
    m, s = quantize_multiplier(1.0 / product)
    codes = []
    for q in range(-128, 128):
        if q <= zero:
            codes.append(127)
            continue
        inverse, shift = _inverse_square_root(q - zero)
        codes.append(int(multiply(multiply(1, inverse, shift + 20), m, s - 20)) + out_zero)
    return _table(np.array(codes, np.int64))


def hard_swish_table(scale: float, zero: int, out_scale: float, out_zero: int) -> Table:
    """HARD_SWISH: 16-bit fixed point, as reference_ops::HardSwish.

    Raises ValueError where TensorFlow Lite refuses: an output scale below the input's / 128.
    """
    hires = _f32(1.0 / 128.0) * _f32(scale)
    out_m, out_shift = quantize_multiplier(float(hires / _f32(out_scale)))
    relu_m, relu_shift = quantize_multiplier(float(hires / (_f32(3.0) / _f32(32768.0))))
    if out_shift > 0:
        raise ValueError(f"an output scale of {out_scale:.3g} for an input of {scale:.3g}")
    x = (_CODES - zero) * 128
    pre = _high_mul16(x, _down16(out_m))
    relu = x
    if relu_shift > 0:
        relu = _int16(relu << (relu_shift - 1))
    relu = _high_mul16(relu, _down16(relu_m))
    if relu_shift > 0:
        relu = _int16(relu << 1)
    if relu_shift < 0:
        relu = divide_by_power(relu, -relu_shift)
    relu = (relu + (1 << 15)) >> 1
    product = relu * pre
    scaled = np.where(product >= 0, product >> 15, -(-product >> 15))  # C's division truncates
    return _table(divide_by_power(scaled, -out_shift) + out_zero)


def _down16(multiplier: int) -> int:
    """DownScaleInt32ToInt16Multiplier."""
    return min((multiplier + (1 << 15)) >> 16, (1 << 15) - 1)


def _int16(x: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.clip(x, -(1 << 15), (1 << 15) - 1)


def _high_mul16(x: npt.NDArray[np.int64], m: int) -> npt.NDArray[np.int64]:
    """SaturatingRoundingDoublingHighMul of int16: C's division truncates towards zero."""
    nudged = x * m + np.where(x * m >= 0, 1 << 14, 1 - (1 << 14))
    return _int16(np.where(nudged >= 0, nudged >> 15, -(-nudged >> 15)))


def nearest_indices(size: int, out: int, *, align: bool, half: bool) -> npt.NDArray[np.int32]:
    """RESIZE_NEAREST_NEIGHBOR: the source of every element along one axis, in float32."""
    ratio = _f32(size - 1) / _f32(out - 1) if align and out > 1 else _f32(size) / _f32(out)
    position = (np.arange(out, dtype=_f32) + _f32(0.5 if half else 0.0)) * ratio
    index = np.floor(position + _f32(0.5)) if align else np.floor(position)
    return np.clip(index.astype(np.int64), 0, size - 1).astype(np.int32)


def bilinear_weights(size: int, out: int, *, align: bool, half: bool) -> npt.NDArray[np.int32]:
    """RESIZE_BILINEAR: of every element along one axis both sources and the weight of the second
    in 1/1024, int32 (out, 3). Raises ValueError where the reference would leave the input."""
    scale = (1024 * size + out // 2) // out
    if align and out > 1:
        scale = (1024 * (size - 1) + (out - 1) // 2) // (out - 1)
    position = np.arange(out, dtype=np.int64) * scale + ((scale // 2 - 512) if half else 0)
    toward = np.where(position < 0, -(-position // 1024), position // 1024)  # as C divides
    above = position + 1023
    first = np.maximum(toward, 0)
    second = np.minimum(np.where(above < 0, -(-above // 1024), above // 1024), size - 1)
    if int(first.max()) >= size or int(second.min()) < 0:
        raise ValueError(f"{out} elements of {size}, whose last lies outside")
    return np.stack([first, second, position - 1024 * first], axis=1).astype(np.int32)


def softmax_exponentials(beta: float, scale: float) -> npt.NDArray[np.int32]:
    """exp(-d * beta * scale) in Q0.31 for d in 0..255, as the fixed-point SOFTMAX computes it;
    0 for what it skips. The exponent is Q5.26; ``diff_min`` is where that would leave Q5.26."""
    real = min(float(_f32(beta)) * float(scale) * float(1 << 26), float(INT32_MAX))
    if real <= 1.0:
        raise ValueError(f"an input scale of {scale:.3g} with beta {beta:.3g}")
    multiplier, shift = quantize_multiplier(real, largest=31)
    radius = math.floor(31.0 * (1 << 26) / (1 << shift))
    d = np.arange(256, dtype=np.int64)
    skipped = d > radius
    exponent = high_mul(np.where(skipped, 0, -d << shift), multiplier)
    return np.where(skipped, 0, exp_on_negative_values(exponent)).astype(np.int32)


# exp(-2**k) in Q0.31 for k = -2..4, gemmlowp's constants.
_BARREL = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_QUARTER = 1 << 24  # in Q5.26


def exp_on_negative_values(a: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """gemmlowp's exp_on_negative_values of Q5.26 values at most 0, in Q0.31.

    exp of the remainder in [-1/4, 0), a Taylor series around -1/8, times exp of the multiples
    of 1/4, one factor per bit.
    """
    remainder = (a & (_QUARTER - 1)) - _QUARTER
    x = (remainder << 5) + (1 << 28)  # Q0.31, plus 1/8
    x2 = high_mul(x, x)
    x3, x4 = high_mul(x2, x), high_mul(x2, x2)
    x4_over_4 = divide_by_power(x4, 2)
    inner = divide_by_power(high_mul(x4_over_4 + x3, 715827883) + x2, 1)
    result = np.minimum(1895147668 + high_mul(1895147668, x + inner), INT32_MAX)
    multiple = remainder - a
    for bit, factor in zip(range(24, 31), _BARREL, strict=True):
        result = np.where(multiple >> bit & 1, high_mul(result, factor), result)
    return np.asarray(np.where(a == 0, INT32_MAX, result))
