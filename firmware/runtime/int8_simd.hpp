// Four int8 in a word as two words of two int16, the halves of such words, and copies.
#ifndef TR_RUNTIME_INT8_SIMD_HPP
#define TR_RUNTIME_INT8_SIMD_HPP

#include "runtime/dsp.hpp"

namespace tr {

#if TR_DSP

// Bytes 0 and 2, sign-extended; `_ror8`: bytes 1 and 3.
TR_INLINE uint32_t sxtb16(uint32_t x) { return static_cast<uint32_t>(__sxtb16(x)); }
TR_INLINE uint32_t sxtb16_ror8(uint32_t x) {
  uint32_t pair;
  asm("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(x));  // the compiler rotates separately
  return pair;
}

// Two halfword sums plus bytes 0 and 2 of x, sign-extended; `_ror8`: bytes 1 and 3.
TR_INLINE uint32_t sxtab16(uint32_t sums, uint32_t x) {
  return static_cast<uint32_t>(__sxtab16(static_cast<int16x2_t>(sums), x));
}
TR_INLINE uint32_t sxtab16_ror8(uint32_t sums, uint32_t x) {
  uint32_t result;
  asm("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sums), "r"(x));
  return result;
}

// (low half of a, low half of b) and (high half of a, high half of b).
TR_INLINE uint32_t low_halves(uint32_t a, uint32_t b) {
  uint32_t pair;
  asm("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
  return pair;
}
TR_INLINE uint32_t high_halves(uint32_t a, uint32_t b) {
  uint32_t pair;
  asm("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(b), "r"(a));
  return pair;
}

// Copy `words` (not 0) words between any addresses, and move both pointers behind them.
TR_INLINE void copy_words(uint8_t*& to, const uint8_t*& from, size_t words) {
  uint32_t word;
  asm volatile(
      "1:\n"
      "ldr    %[word], [%[from]], #4\n"
      "subs   %[n], %[n], #1\n"
      "str    %[word], [%[to]], #4\n"
      "bne    1b\n"
      : [to] "+r"(to), [from] "+r"(from), [n] "+r"(words), [word] "=&r"(word)
      :
      : "cc", "memory");
}

#else

TR_INLINE uint32_t low_halves(uint32_t a, uint32_t b) { return (a & 0xffffu) | (b << 16); }
TR_INLINE uint32_t high_halves(uint32_t a, uint32_t b) { return (a >> 16) | (b & 0xffff0000u); }

TR_INLINE void copy_words(uint8_t*& to, const uint8_t*& from, size_t words) {
  for (; words != 0; --words, to += 4, from += 4) store4(to, load4(from));
}

TR_INLINE uint32_t sxtb16(uint32_t x) {
  return (x & 0x007f007fu) | ((x & 0x00800080u) * 0x1ffu);  // 0x80 * 0x1ff = 0xff80
}
TR_INLINE uint32_t sxtb16_ror8(uint32_t x) { return sxtb16(x >> 8); }
TR_INLINE uint32_t sxtab16(uint32_t sums, uint32_t x) {
  const uint32_t pair = sxtb16(x);
  return ((sums + pair) & 0xffffu) | ((sums & 0xffff0000u) + (pair & 0xffff0000u));
}
TR_INLINE uint32_t sxtab16_ror8(uint32_t sums, uint32_t x) { return sxtab16(sums, x >> 8); }

#endif

TR_INLINE int32_t low_half(uint32_t word) { return static_cast<int16_t>(word & 0xffffu); }
TR_INLINE int32_t high_half(uint32_t word) { return static_cast<int16_t>(word >> 16); }

}  // namespace tr

#endif
