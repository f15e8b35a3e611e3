// Ternary weights as lists of the inputs that are not zero, and the sums over them.
//
// Inputs stand in lanes: tap k (an input of the window) of eight output pixels is the eight bytes
// from 8k on, and one more tap of zeros follows the last. Per output channel the weights are words:
// the number of pairs with weight -1 (low half) and with weight +1 (high half), then the pairs,
// minus first: each word holds the byte offsets of two taps. The tap of zeros fills odd lists.
//
// Two channels can share sums: their weights then are four such rows, of the inputs whose weights
// are equal in both, opposite (the sign is the first channel's), and not zero in the first or in
// the second only.
//
// Two inputs of 0..127 are added in byte lanes without overflow, then widened into int16 sums.
// These may wrap on the way; the result is right because it is proved to fit int16.
#ifndef TR_RUNTIME_LISTS_HPP
#define TR_RUNTIME_LISTS_HPP

#include <stddef.h>

#include "runtime/dsp.hpp"

namespace tr {

constexpr size_t lanes = 8;

#if TR_DSP

// One pair into the sums (s0: pixels 0 and 2, s1: 1 and 3, s2: 4 and 6, s3: 5 and 7).
#define TR_LISTS_PAIR(pair)               \
  "uxtah   %[a], %[base], %[" pair        \
  "]\n"                                   \
  "add     %[" pair "], %[base], %[" pair \
  "], lsr #16\n"                          \
  "ldrd    %[x], %[y], [%[a]]\n"          \
  "ldrd    %[a], %[" pair "], [%[" pair   \
  "]]\n"                                  \
  "uadd8   %[x], %[x], %[a]\n"            \
  "uadd8   %[y], %[y], %[" pair           \
  "]\n"                                   \
  "uxtab16 %[s0], %[s0], %[x]\n"          \
  "uxtab16 %[s1], %[s1], %[x], ror #8\n"  \
  "uxtab16 %[s2], %[s2], %[y]\n"          \
  "uxtab16 %[s3], %[s3], %[y], ror #8\n"

// Add the taps of `pairs` words to the sums, two words at a time; returns the word after them. One
// piece, or the compiler copies the sums around between pieces.
TR_INLINE const uint32_t* lists_add(const uint32_t* list, const uint8_t* taps, uint32_t pairs,
                                    uint32_t* s) {
  uint32_t p, q, a, x, y;
  asm volatile(
      "subs    %[n], %[n], #2\n"
      "blo     2f\n"
      "1:\n"
      "ldrd    %[p], %[q], [%[list]], #8\n"  //
      TR_LISTS_PAIR("p") TR_LISTS_PAIR("q")  //
      "subs    %[n], %[n], #2\n"
      "bhs     1b\n"
      "2:\n"
      "tst     %[n], #1\n"
      "beq     3f\n"
      "ldr     %[p], [%[list]], #4\n"  //
      TR_LISTS_PAIR("p")               //
      "3:\n"
      : [s0] "+r"(s[0]), [s1] "+r"(s[1]), [s2] "+r"(s[2]), [s3] "+r"(s[3]), [list] "+r"(list),
        [n] "+r"(pairs), [p] "=&r"(p), [q] "=&r"(q), [a] "=&r"(a), [x] "=&r"(x), [y] "=&r"(y)
      : [base] "r"(taps)
      : "cc", "memory");
  return list;
}
#undef TR_LISTS_PAIR

// Sums of eight pixels in int16 lanes.
struct Sums {
  uint32_t s[4];
};

TR_INLINE Sums lists_add_lanes(const Sums& a, const Sums& b) {
  Sums sum;
  TR_UNROLL
  for (size_t i = 0; i < 4; ++i) sum.s[i] = sadd16(a.s[i], b.s[i]);
  return sum;
}

TR_INLINE Sums lists_subtract_lanes(const Sums& a, const Sums& b) {
  Sums sum;
  TR_UNROLL
  for (size_t i = 0; i < 4; ++i) sum.s[i] = ssub16(a.s[i], b.s[i]);
  return sum;
}

// Add the row at `weights` to `sums`, which are zero when `fresh`; `weights` moves on.
template <bool fresh>
TR_INLINE void lists_row(const uint32_t*& weights, const uint8_t* taps, Sums& sums) {
  const uint32_t pairs = *weights++;
  if (!fresh) sums = lists_subtract_lanes(Sums{}, sums);
  weights = lists_add(weights, taps, pairs & 0xffffu, sums.s);
  sums = lists_subtract_lanes(Sums{}, sums);
  weights = lists_add(weights, taps, pairs >> 16, sums.s);
}

// The sums pixel by pixel.
TR_INLINE void lists_unpack(const Sums& sums, int32_t* acc) {
  TR_UNROLL
  for (size_t half = 0; half < 2; ++half) {
    acc[4 * half] = static_cast<int16_t>(sums.s[2 * half]);
    acc[4 * half + 1] = static_cast<int16_t>(sums.s[2 * half + 1]);
    acc[4 * half + 2] = static_cast<int32_t>(sums.s[2 * half]) >> 16;
    acc[4 * half + 3] = static_cast<int32_t>(sums.s[2 * half + 1]) >> 16;
  }
}

#else

struct Sums {
  int32_t s[lanes];
};

TR_INLINE Sums lists_add_lanes(const Sums& a, const Sums& b) {
  Sums sum;
  for (size_t i = 0; i < lanes; ++i) sum.s[i] = a.s[i] + b.s[i];
  return sum;
}

TR_INLINE Sums lists_subtract_lanes(const Sums& a, const Sums& b) {
  Sums sum;
  for (size_t i = 0; i < lanes; ++i) sum.s[i] = a.s[i] - b.s[i];
  return sum;
}

TR_INLINE const uint32_t* lists_add(const uint32_t* list, const uint8_t* taps, uint32_t pairs,
                                    int32_t sign, int32_t* sums) {
  for (; pairs != 0; --pairs) {
    const uint32_t pair = *list++;
    const uint8_t* x = taps + (pair & 0xffffu);
    const uint8_t* y = taps + (pair >> 16);
    for (size_t i = 0; i < lanes; ++i) sums[i] += sign * (x[i] + y[i]);
  }
  return list;
}

template <bool fresh>
TR_INLINE void lists_row(const uint32_t*& weights, const uint8_t* taps, Sums& sums) {
  const uint32_t pairs = *weights++;
  weights = lists_add(weights, taps, pairs & 0xffffu, -1, sums.s);
  weights = lists_add(weights, taps, pairs >> 16, 1, sums.s);
}

TR_INLINE void lists_unpack(const Sums& sums, int32_t* acc) {
  for (size_t i = 0; i < lanes; ++i) acc[i] = sums.s[i];
}

#endif

// The sums of `out_c` channels from the rows at `weights`, of which two channels share four while
// `group` is 2 (a last odd channel has a row of its own).
template <size_t group>
inline TR_NOINLINE void lists_sums(const uint32_t* weights, const uint8_t* taps, size_t out_c,
                                   Sums* out) {
  if (group == 2) {
    for (; out_c >= 2; out_c -= 2, out += 2) {
      Sums equal = {};
      Sums opposite = {};
      lists_row<true>(weights, taps, equal);
      lists_row<true>(weights, taps, opposite);
      out[1] = lists_subtract_lanes(equal, opposite);
      Sums first = lists_add_lanes(equal, opposite);
      lists_row<false>(weights, taps, first);
      out[0] = first;
      Sums second = out[1];
      lists_row<false>(weights, taps, second);
      out[1] = second;
    }
  }
  for (; out_c != 0; --out_c, ++out) {
    Sums sums = {};
    lists_row<true>(weights, taps, sums);
    *out = sums;
  }
}

// Give `count` inputs of one pixel their places: one byte every `lanes`.
TR_INLINE uint8_t* lists_spread(const uint8_t* in, size_t count, uint8_t* lane) {
  for (; count >= 8; count -= 8, in += 8, lane += 8 * lanes) {
    const uint32_t low = load4(in);
    const uint32_t high = load4(in + 4);
    TR_UNROLL
    for (size_t i = 0; i < 4; ++i) lane[i * lanes] = static_cast<uint8_t>(low >> (8 * i));
    TR_UNROLL
    for (size_t i = 0; i < 4; ++i) lane[(4 + i) * lanes] = static_cast<uint8_t>(high >> (8 * i));
  }
  for (; count != 0; --count, lane += lanes) *lane = *in++;
  return lane;
}

}  // namespace tr

#endif
