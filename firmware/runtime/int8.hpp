// The arithmetic of TensorFlow Lite's int8 reference kernels (arithmetic family `tflite` of the
// Graph), integer for integer as TensorFlow 2.15.1 computes it: double rounding, the default of
// its builds (TFLITE_SINGLE_ROUNDING is off). Names follow
// tensorflow/lite/kernels/internal/common.h and gemmlowp's fixedpoint.h.
#ifndef TR_RUNTIME_INT8_HPP
#define TR_RUNTIME_INT8_HPP

#include "runtime/dsp.hpp"
#include "runtime/int8_layers.hpp"

namespace tr {

// SaturatingRoundingDoublingHighMul for operands that are not both INT32_MIN (a multiplier never
// is): round(a * b / 2^31), halves up. gemmlowp's nudge of negative products together with its
// truncating division is the same as this floor.
TR_INLINE int32_t doubling_high_mul(int32_t a, int32_t b) {
#if TR_SHORT_MULTIPLY
  return multiply_high_31(a, b);
#else
  return static_cast<int32_t>((static_cast<int64_t>(a) * b + (INT64_C(1) << 30)) >> 31);
#endif
}

// RoundingDivideByPOT: round(x / 2^exponent), halves away from zero; exponent 0..31. Adds 1 where
// what is cut off exceeds half, or (x < 0) half and 1; without a branch.
TR_INLINE int32_t rounding_shift_right(int32_t x, int32_t exponent) {
  const int32_t mask = static_cast<int32_t>((1u << exponent) - 1u);
  const int32_t threshold = (mask >> 1) + static_cast<int32_t>(static_cast<uint32_t>(x) >> 31);
  const uint32_t below = static_cast<uint32_t>(threshold - (x & mask));  // negative: exceeded
  return (x >> exponent) + static_cast<int32_t>(below >> 31);
}

// x * 2^exponent in 32 bits, as the reference's `x * (1 << exponent)`; wraps instead of undefined.
TR_INLINE int32_t shift_left(int32_t x, int32_t exponent) {
  return static_cast<int32_t>(static_cast<uint32_t>(x) << exponent);
}

// MultiplyByQuantizedMultiplier: x * multiplier / 2^31 * 2^shift, rounded twice. A positive shift
// is to the left.
TR_INLINE int32_t multiply_by_quantized(int32_t x, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t right = shift > 0 ? 0 : -shift;
  return rounding_shift_right(doubling_high_mul(shift_left(x, left), multiplier), right);
}

// The same where the shift is known not to be to the left.
TR_INLINE int32_t multiply_by_quantized_smaller(int32_t x, int32_t multiplier, int32_t shift) {
  return rounding_shift_right(doubling_high_mul(x, multiplier), -shift);
}

TR_INLINE int8_t clamp_i8(int32_t value, int32_t lo, int32_t hi) {
  const int32_t below = value > hi ? hi : value;
  return static_cast<int8_t>(below < lo ? lo : below);
}

// The int8 output of channel `c` from its accumulator, to which the bias was added.
TR_INLINE int8_t requantize_i8(const RequantizeI8& r, size_t c, int32_t acc) {
  const size_t s = r.per_channel ? c : 0;
  const int32_t value = multiply_by_quantized(acc, r.multiplier[s], r.shift[s]);
  return clamp_i8(value + r.zero_point, r.lo, r.hi);
}

// int8 tensors lie in the arena as bytes.
TR_INLINE const int8_t* as_i8(const uint8_t* bytes) {
  return reinterpret_cast<const int8_t*>(bytes);
}
TR_INLINE int8_t* as_i8(uint8_t* bytes) { return reinterpret_cast<int8_t*>(bytes); }

}  // namespace tr

#endif
