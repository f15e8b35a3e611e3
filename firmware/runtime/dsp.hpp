// The DSP instructions of Cortex-M4 and M7, and whether they are there (TR_DSP).
//
// Each function names the instruction it becomes (Armv7-M Architecture Reference Manual, A7.7);
// arm_acle.h gives the same where the compiler has it.
#ifndef TR_RUNTIME_DSP_HPP
#define TR_RUNTIME_DSP_HPP

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP && defined(__ARM_FEATURE_SIMD32) && \
    !defined(TR_PORTABLE)
#define TR_DSP 1
#include <arm_acle.h>
#else
#define TR_DSP 0
#endif

// Armv6-M multiplies to 32 bits only, and none of its accesses may be misaligned.
#if defined(__ARM_ARCH_6M__)
#define TR_SHORT_MULTIPLY 1
#define TR_ALIGNED_ONLY 1
#else
#define TR_SHORT_MULTIPLY 0
#define TR_ALIGNED_ONLY 0
#endif

// Small loops and functions that must vanish at any optimisation level.
#define TR_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define TR_UNROLL _Pragma("unroll")
#define TR_NOINLINE __attribute__((noinline))
#else
#define TR_UNROLL _Pragma("GCC unroll 8")
#define TR_NOINLINE __attribute__((noinline, noclone))  // once in the image
#endif

namespace tr {

// Four bytes at any address, as one little-endian word.
TR_INLINE uint32_t load4(const uint8_t* p) {
  uint32_t word;
  __builtin_memcpy(&word, p, 4);
  return word;
}

TR_INLINE void store4(uint8_t* p, uint32_t word) { __builtin_memcpy(p, &word, 4); }

// The same at addresses that are multiples of four, as those of tensors are.
typedef uint32_t __attribute__((may_alias)) AlignedWord;
TR_INLINE uint32_t load4_aligned(const uint8_t* p) {
  return *reinterpret_cast<const AlignedWord*>(p);
}
TR_INLINE void store4_aligned(uint8_t* p, uint32_t word) {
  *reinterpret_cast<AlignedWord*>(p) = word;
}

// True when words may be copied between the two places.
TR_INLINE bool words_between(const uint8_t* a, const uint8_t* b) {
#if TR_ALIGNED_ONLY
  return ((reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) & 3u) == 0;
#else
  static_cast<void>(a);
  static_cast<void>(b);
  return true;
#endif
}

// a * b >> 16 with products of 32 bits, exact where the result fits: by halves, of which only the
// lowest product is cut. Sums may wrap on the way.
TR_INLINE int32_t multiply_high_16(int32_t a, int32_t b) {
  const uint32_t low = static_cast<uint32_t>(a) & 0xffffu;
  const uint32_t rest = static_cast<uint32_t>(b) & 0xffffu;
  const auto sum = static_cast<uint32_t>(a) * static_cast<uint32_t>(b >> 16) +
                   static_cast<uint32_t>(a >> 16) * rest + ((low * rest) >> 16);
  return static_cast<int32_t>(sum);
}

// (a * b + 2^30) >> 31 with products of 32 bits, for operands that are not both INT32_MIN.
TR_INLINE int32_t multiply_high_31(int32_t a, int32_t b) {
  const int32_t al = a & 0xffff, ah = a >> 16, bl = b & 0xffff, bh = b >> 16;
  const uint32_t lowest = static_cast<uint32_t>(al) * static_cast<uint32_t>(bl);
  const int32_t first = ah * bl + static_cast<int32_t>(lowest >> 16);  // fits
  const int32_t second = al * bh + (first & 0xffff);                   // fits
  const int32_t high = ah * bh + (first >> 16) + (second >> 16);
  const uint32_t low = (static_cast<uint32_t>(second) << 16) | (lowest & 0xffffu);
  const uint32_t rounded = low + 0x40000000u;
  const uint32_t carried = static_cast<uint32_t>(high) + (rounded < low ? 1u : 0u);
  return static_cast<int32_t>((carried << 1) | (rounded >> 31));
}

#if TR_DSP

TR_INLINE int32_t smlawb(int32_t m, int32_t acc, int32_t t) { return __smlawb(m, acc, t); }

template <int Bits>
TR_INLINE uint32_t usat(int32_t value) {
  return static_cast<uint32_t>(__usat(value, Bits));
}

// Bytes 0 and 2 as two halfwords; with `ror` 8: bytes 1 and 3.
TR_INLINE uint32_t uxtb16(uint32_t x) { return __uxtb16(x); }
TR_INLINE uint32_t uxtb16_ror8(uint32_t x) {
  uint32_t pair;
  asm("uxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(x));  // the compiler rotates separately
  return pair;
}

// sum + (signed low halves product) + (signed high halves product).
TR_INLINE int32_t smlad(uint32_t a, uint32_t b, int32_t sum) {
  return __smlad(static_cast<int16x2_t>(a), static_cast<int16x2_t>(b), sum);
}

TR_INLINE uint32_t sadd16(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(__sadd16(static_cast<int16x2_t>(a), static_cast<int16x2_t>(b)));
}

TR_INLINE uint32_t ssub16(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(__ssub16(static_cast<int16x2_t>(a), static_cast<int16x2_t>(b)));
}

// The larger of each byte: a + max(b - a, 0).
TR_INLINE uint32_t max_bytes(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(__uadd8(a, __uqsub8(b, a)));
}

// Two halfword sums plus bytes 0 and 2 of x; with `ror8` bytes 1 and 3.
TR_INLINE uint32_t uxtab16(uint32_t sums, uint32_t x) { return __uxtab16(sums, x); }
TR_INLINE uint32_t uxtab16_ror8(uint32_t sums, uint32_t x) {
  uint32_t result;
  asm("uxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sums), "r"(x));
  return result;
}

// sum + byte0 + byte1 + byte2 + byte3.
TR_INLINE uint32_t add_bytes(uint32_t x, uint32_t sum) { return __usada8(x, 0, sum); }

#else

TR_INLINE uint32_t uxtb16(uint32_t x) { return x & 0x00ff00ffu; }
TR_INLINE uint32_t uxtb16_ror8(uint32_t x) { return (x >> 8) & 0x00ff00ffu; }
TR_INLINE uint32_t add_bytes(uint32_t x, uint32_t sum) {
  const uint32_t pairs = (x & 0x00ff00ffu) + ((x >> 8) & 0x00ff00ffu);
  return sum + (pairs & 0xffffu) + (pairs >> 16);
}

#endif

}  // namespace tr

#endif
