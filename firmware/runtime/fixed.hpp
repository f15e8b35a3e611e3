// Requantisation, the arithmetic family `fixed` of the Graph: per channel
//   t = bias + ((m * acc) >> 16) [+ ((m2 * operand) >> 16)],  q = clamp((t + half) >> shift, lo, hi)
// with arithmetic shifts, each branch floored by itself. graph/verify.py proves that every partial
// sum fits int32, so plain additions are exact.
#ifndef TR_RUNTIME_FIXED_HPP
#define TR_RUNTIME_FIXED_HPP

#include "runtime/dsp.hpp"
#include "runtime/layers.hpp"

namespace tr {

// (m * acc) >> 16, exact for any int32 pair whose result fits int32.
inline int32_t scale(int32_t m, int32_t acc) {
  return static_cast<int32_t>((static_cast<int64_t>(m) * acc) >> 16);
}

// The same for an accumulator that fits int16: one SMLAWB.
inline int32_t scale_narrow(int32_t t, int32_t m, int32_t acc) {
#if TR_DSP
  return smlawb(m, acc, t);
#else
  return t + scale(m, acc);
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
  const int32_t q = (t + half) >> r.shift;
  return static_cast<uint8_t>(q < r.lo ? r.lo : q > r.hi ? r.hi : q);
}

// Finish `N` accumulators of channel `c` whose elements lie `step` apart, the first at `index`:
// the caller has them in registers, so the decisions are made once for N outputs.
template <int N>
inline void finish(const Requantize& r, size_t c, size_t index, size_t step, const int32_t* acc,
                   const Buffers& at) {
  if (r.finish == Finish::raw) {
    if (r.out == Type::i16) {
      int16_t* out = reinterpret_cast<int16_t*>(at.out) + index;
      for (int i = 0; i < N; ++i) out[static_cast<size_t>(i) * step] = static_cast<int16_t>(acc[i]);
    } else {
      int32_t* out = reinterpret_cast<int32_t*>(at.out) + index;
      for (int i = 0; i < N; ++i) out[static_cast<size_t>(i) * step] = acc[i];
    }
    return;
  }
  const int32_t bias = r.bias[c];
  const int32_t m = r.multiplier[c];
  int32_t t[N];
  if (r.narrow) {
    for (int i = 0; i < N; ++i) t[i] = scale_narrow(bias, m, acc[i]);
  } else {
    for (int i = 0; i < N; ++i) t[i] = bias + scale(m, acc[i]);
  }
  if (r.multiplier2 != nullptr) {
    const int32_t m2 = r.multiplier2[c];
    if (r.operand == Type::u8) {
      const uint8_t* operand = at.operand + index;
      for (int i = 0; i < N; ++i) t[i] = scale_narrow(t[i], m2, operand[static_cast<size_t>(i) * step]);
    } else if (r.operand == Type::i16) {
      const int16_t* operand = reinterpret_cast<const int16_t*>(at.operand) + index;
      for (int i = 0; i < N; ++i) t[i] = scale_narrow(t[i], m2, operand[static_cast<size_t>(i) * step]);
    } else {
      const int32_t* operand = reinterpret_cast<const int32_t*>(at.operand) + index;
      for (int i = 0; i < N; ++i) t[i] += scale(m2, operand[static_cast<size_t>(i) * step]);
    }
  }
  if (r.finish == Finish::scores) {
    int32_t* out = reinterpret_cast<int32_t*>(at.out) + index;
    for (int i = 0; i < N; ++i) out[static_cast<size_t>(i) * step] = t[i];
    return;
  }
  uint8_t* out = at.out + index;
#if TR_DSP
  if (r.saturate && r.bits == 7) {  // the usual activation
    const int32_t half = (1 << r.shift) >> 1;
    for (int i = 0; i < N; ++i) {
      out[static_cast<size_t>(i) * step] = static_cast<uint8_t>(usat<7>((t[i] + half) >> r.shift));
    }
    return;
  }
#endif
  for (int i = 0; i < N; ++i) out[static_cast<size_t>(i) * step] = quantise(r, t[i]);
}

}  // namespace tr

#endif
