#include "kernels/add_linear_i8/add_linear_i8.hpp"

#include "runtime/int8_simd.hpp"

namespace tr {
namespace {

#if TR_DSP

// clang-format off
// Four elements: bytes become halfwords 256 times as large, whose product SMLAW shifts by 16. The
// products' registers: r4 and r5 hold bytes 0 and 2 of both operands, r6 and r7 bytes 1 and 3.
#define TR_ADD_LINEAR_QUAD          \
  "ldr    r4, [%[a]], #4\n"         \
  "ldr    r5, [%[b]], #4\n"         \
  "and    r6, %[mask], r4\n"        \
  "and    r4, %[mask], r4, lsl #8\n" \
  "and    r7, %[mask], r5\n"        \
  "and    r5, %[mask], r5, lsl #8\n" \
  "smlawb r8, %[ka], r4, %[start]\n" \
  "smlawt r9, %[ka], r4, %[start]\n" \
  "smlawb r4, %[ka], r6, %[start]\n" \
  "smlawt r6, %[ka], r6, %[start]\n" \
  "smlawb r8, %[kb], r5, r8\n"      \
  "smlawt r9, %[kb], r5, r9\n"      \
  "smlawb r4, %[kb], r7, r4\n"      \
  "smlawt r6, %[kb], r7, r6\n"      \
  "ssat   r8, #8, r8, asr #21\n"    \
  "ssat   r9, #8, r9, asr #21\n"    \
  "ssat   r4, #8, r4, asr #21\n"    \
  "ssat   r6, #8, r6, asr #21\n"    \
  "bfi    r8, r4, #8, #8\n"         \
  "bfi    r9, r6, #8, #8\n"         \
  "pkhbt  r8, r8, r9, lsl #16\n"    \
  "str    r8, [%[out]], #4\n"

// `n` elements, a multiple of 8.
TR_INLINE void add_words(const LinearI8& layer, const uint8_t*& a, const uint8_t*& b,
                         uint8_t*& out, size_t n) {
  const uint8_t* end = a + n;
  asm volatile(
      "1:\n" TR_ADD_LINEAR_QUAD TR_ADD_LINEAR_QUAD
      "cmp    %[a], %[end]\n"
      "bne    1b\n"
      : [a] "+r"(a), [b] "+r"(b), [out] "+r"(out)
      : [ka] "r"(layer.a), [kb] "r"(layer.b), [start] "r"(layer.start), [end] "r"(end),
        [mask] "r"(0xff00ff00u)
      : "r4", "r5", "r6", "r7", "r8", "r9", "cc", "memory");
}
// clang-format on
#undef TR_ADD_LINEAR_QUAD

#endif

TR_INLINE int8_t add_one(const LinearI8& layer, uint8_t a, uint8_t b) {
  const int64_t first = static_cast<int64_t>(layer.a) * static_cast<int8_t>(a);
  const int64_t second = static_cast<int64_t>(layer.b) * static_cast<int8_t>(b);
  const int32_t sum =
      layer.start + static_cast<int32_t>(first >> 8) + static_cast<int32_t>(second >> 8);
  const int32_t q = sum >> 21;
  return static_cast<int8_t>(q < -128 ? -128 : q > 127 ? 127 : q);
}

}  // namespace

void add_linear_i8(const LinearI8& layer, const Buffers& at) {
  const uint8_t* a = at.in;
  const uint8_t* b = at.operand;
  uint8_t* out = at.out;
  size_t n = layer.count;
#if TR_DSP
  if (n >= 8) {
    add_words(layer, a, b, out, n & ~static_cast<size_t>(7));
    n &= 7;
  }
#endif
  for (; n != 0; --n) *out++ = static_cast<uint8_t>(add_one(layer, *a++, *b++));
}

}  // namespace tr
