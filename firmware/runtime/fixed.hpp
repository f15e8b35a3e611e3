// Requantisation, the arithmetic family `fixed` of the Graph: per channel
//   t = bias + ((m * acc) >> 16) [+ ((m2 * operand) >> 16)],  q = clamp((t + half) >> shift, lo,
//   hi)
// with arithmetic shifts, each branch floored by itself. graph/verify.py proves that every partial
// sum fits int32, so plain additions are exact.
#ifndef TR_RUNTIME_FIXED_HPP
#define TR_RUNTIME_FIXED_HPP

#include "runtime/dsp.hpp"
#include "runtime/layers.hpp"

namespace tr {

// (m * acc) >> 16, exact for any int32 pair whose result fits int32.
TR_INLINE int32_t scale(int32_t m, int32_t acc) {
#if TR_SHORT_MULTIPLY
  return multiply_high_16(m, acc);
#else
  return static_cast<int32_t>((static_cast<int64_t>(m) * acc) >> 16);
#endif
}

inline int32_t load(Type type, const uint8_t* base, size_t index) {
  switch (type) {
    case Type::u8:
      return base[index];
    case Type::i8:
      return reinterpret_cast<const int8_t*>(base)[index];
    case Type::i16:
      return reinterpret_cast<const int16_t*>(base)[index];
    default:
      return reinterpret_cast<const int32_t*>(base)[index];
  }
}

inline uint8_t quantise(const Requantize& r, int32_t t) {
  const int32_t half = (1 << r.shift) >> 1;
  int32_t q = (t + half) >> r.shift;
  if (q > r.hi) q = r.hi;  // two conditional moves: the time does not depend on the data
  if (q < r.lo) q = r.lo;
  return static_cast<uint8_t>(q);
}

// Finish `n` accumulators of channel `c` whose elements lie `step` apart, the first at `index`.
inline void finish(const Requantize& r, size_t c, size_t index, size_t step, const int32_t* acc,
                   size_t n, const Buffers& at) {
  for (size_t i = 0; i < n; ++i, index += step) {
    if (r.finish == Finish::raw) {
      if (r.out == Type::i16) {
        reinterpret_cast<int16_t*>(at.out)[index] = static_cast<int16_t>(acc[i]);
      } else {
        reinterpret_cast<int32_t*>(at.out)[index] = acc[i];
      }
      continue;
    }
    int32_t t = r.bias[c] + scale(r.multiplier[c], acc[i]);
    if (r.multiplier2 != nullptr) t += scale(r.multiplier2[c], load(r.operand, at.operand, index));
    if (r.finish == Finish::scores) {
      reinterpret_cast<int32_t*>(at.out)[index] = t;
    } else {
      at.out[index] = quantise(r, t);
    }
  }
}

// The layers that most of the time goes to, with their decisions made once per layer.
enum class Quick : uint8_t {
  none,   // finish() above
  raw,    // int16 accumulators, stored
  plain,  // narrow accumulators to 0..2^bits - 1
  add8,   // the same with a u8 operand
  add16,  // the same with an i16 operand
};

#if TR_DSP

inline Quick quick(const Requantize& r) {
  if (r.finish == Finish::raw) return r.out == Type::i16 ? Quick::raw : Quick::none;
  if (r.finish != Finish::quantise || !r.narrow || !r.saturate) return Quick::none;
  if (r.multiplier2 == nullptr) return Quick::plain;
  if (r.operand == Type::u8) return Quick::add8;
  return r.operand == Type::i16 ? Quick::add16 : Quick::none;
}

// finish() for N accumulators of a quick layer: SMLAWB, ASR, USAT and a store per output. Of each
// accumulator only the low halfword counts. The half of the rounding goes in with the bias; sums
// may wrap on the way, the result fits.
template <Quick kind, size_t N>
TR_INLINE void finish_quick(const Requantize& r, size_t c, size_t index, size_t step,
                            const int32_t* acc, const Buffers& at) {
  if (kind == Quick::raw) {
    int16_t* out = reinterpret_cast<int16_t*>(at.out) + index;
    TR_UNROLL
    for (size_t i = 0; i < N; ++i, out += step) *out = static_cast<int16_t>(acc[i]);
    return;
  }
  const uint32_t shift = r.shift;  // read once: the stores below could change it, for all C++ knows
  const uint32_t half = (1u << shift) >> 1;
  const int32_t start = static_cast<int32_t>(static_cast<uint32_t>(r.bias[c]) + half);
  const int32_t m = r.multiplier[c];
  int32_t t[N];
  TR_UNROLL
  for (size_t i = 0; i < N; ++i) t[i] = smlawb(m, acc[i], start);
  if (kind == Quick::add8) {
    const int32_t m2 = r.multiplier2[c];
    const uint8_t* operand = at.operand + index;
    TR_UNROLL
    for (size_t i = 0; i < N; ++i, operand += step) t[i] = smlawb(m2, *operand, t[i]);
  }
  if (kind == Quick::add16) {
    const int32_t m2 = r.multiplier2[c];
    const int16_t* operand = reinterpret_cast<const int16_t*>(at.operand) + index;
    TR_UNROLL
    for (size_t i = 0; i < N; ++i, operand += step) t[i] = smlawb(m2, *operand, t[i]);
  }
  uint8_t* out = at.out + index;
  if (r.bits == 7) {
    TR_UNROLL
    for (size_t i = 0; i < N; ++i, out += step) *out = static_cast<uint8_t>(usat<7>(t[i] >> shift));
  } else {
    const int32_t hi = r.hi;
    TR_UNROLL
    for (size_t i = 0; i < N; ++i, out += step) {
      int32_t q = t[i] >> shift;
      if (q > hi) q = hi;
      if (q < 0) q = 0;
      *out = static_cast<uint8_t>(q);
    }
  }
}

#else

inline Quick quick(const Requantize&) { return Quick::none; }

#endif

}  // namespace tr

#endif
