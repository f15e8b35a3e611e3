// Ternary weights in two bits: how they are stored and the sums over them.
//
// Inputs are taken in quads of four bytes. A quad becomes two words of two halfwords, (x0, x2) and
// (x1, x3), as UXTB16 makes them. A weight is stored as the code w + 1 (0, 1, 2); a 32-bit word
// holds four quads: pair k of its eight pairs has its codes at bits 2k and 16 + 2k, so that
// `(word >> 2k) & 0x00030003` is the pair as SMLAD wants it. The codes give
// sum((w + 1) * x) = sum(w * x) + sum(x); sums therefore start at -sum(x), which also makes padding
// harmless: its inputs are 0. A row of weights (one output) fills whole words.
#ifndef TR_RUNTIME_T2_HPP
#define TR_RUNTIME_T2_HPP

#include <stddef.h>

#include "runtime/dsp.hpp"

namespace tr {

constexpr uint32_t t2_mask = 0x00030003u;

// Turn `count` bytes into halfword pairs, the words of one column `Columns` apart, padding the last
// quad with zeros; returns the sum of the bytes.
template <size_t Columns>
TR_INLINE uint32_t t2_expand(const uint8_t* in, size_t count, uint32_t* column) {
  uint32_t sum = 0;
  for (; count >= 16; count -= 16, in += 16) {
    TR_UNROLL
    for (size_t i = 0; i < 16; i += 4, column += 2 * Columns) {
      const uint32_t x = load4(in + i);
      column[0] = uxtb16(x);
      column[Columns] = uxtb16_ror8(x);
      sum = add_bytes(x, sum);
    }
  }
  for (; count >= 4; count -= 4, in += 4, column += 2 * Columns) {
    const uint32_t x = load4(in);
    column[0] = uxtb16(x);
    column[Columns] = uxtb16_ror8(x);
    sum = add_bytes(x, sum);
  }
  if (count != 0) {
    uint32_t x = in[0];
    if (count > 1) x |= static_cast<uint32_t>(in[1]) << 8;
    if (count > 2) x |= static_cast<uint32_t>(in[2]) << 16;
    column[0] = uxtb16(x);
    column[Columns] = uxtb16_ror8(x);
    sum = add_bytes(x, sum);
  }
  return sum;
}

template <size_t Columns>
TR_INLINE void t2_pair(uint32_t codes, const uint32_t* x, int32_t* acc) {
  TR_UNROLL
  for (size_t i = 0; i < Columns; ++i) {
#if TR_DSP
    acc[i] = smlad(codes, x[i], acc[i]);
#else
    const uint32_t low = (codes & 3u) * (x[i] & 0xffffu);
    const uint32_t high = (codes >> 16) * (x[i] >> 16);
    acc[i] += static_cast<int32_t>(low + high);
#endif
  }
}

#if TR_DSP
// One pair of weights times four columns; the compiler would load the columns one by one.
#define TR_T2_PAIR(shift)               \
  "and   %[codes], %[mask], %[w]" shift \
  "\n"                                  \
  "ldmia %[x]!, {r3, r4, r5, r6}\n"     \
  "smlad %[a], %[codes], r3, %[a]\n"    \
  "smlad %[b], %[codes], r4, %[b]\n"    \
  "smlad %[c], %[codes], r5, %[c]\n"    \
  "smlad %[d], %[codes], r6, %[d]\n"
#define TR_T2_OPERANDS                                                                         \
  : [a] "+r"(acc[0]), [b] "+r"(acc[1]), [c] "+r"(acc[2]), [d] "+r"(acc[3]),                 \
    [weights] "+r"(weights), [x] "+r"(column), [n] "+r"(n), [w] "=&r"(w), [codes] "=&r"(codes) \
  : [mask] "r"(t2_mask)                                                                     \
  : "r3", "r4", "r5", "r6", "cc", "memory"

// Whole words of weights times four columns, then the quads of the last word.
TR_INLINE const uint32_t* t2_dot4(const uint32_t* weights, const uint32_t* column, size_t quads,
                                  int32_t* acc) {
  uint32_t w, codes;
  size_t n = quads / 4;
  if (n != 0) {
    asm volatile(
        "1:\n"
        "ldr   %[w], [%[weights]], #4\n"                 //
        TR_T2_PAIR("") TR_T2_PAIR(", lsr #2")            //
        TR_T2_PAIR(", lsr #4") TR_T2_PAIR(", lsr #6")    //
        TR_T2_PAIR(", lsr #8") TR_T2_PAIR(", lsr #10")   //
        TR_T2_PAIR(", lsr #12") TR_T2_PAIR(", lsr #14")  //
        "subs  %[n], %[n], #1\n"
        "bne   1b\n" TR_T2_OPERANDS);
  }
  n = quads % 4;
  if (n != 0) {
    asm volatile(
        "ldr   %[w], [%[weights]], #4\n"
        "2:\n"                                 //
        TR_T2_PAIR("") TR_T2_PAIR(", lsr #2")  //
        "lsr   %[w], %[w], #4\n"
        "subs  %[n], %[n], #1\n"
        "bne   2b\n" TR_T2_OPERANDS);
  }
  return weights;
}
#undef TR_T2_PAIR
#undef TR_T2_OPERANDS
#endif

// Add one row of weights times `Columns` interleaved columns of `quads` quads to `acc`; returns
// where the next row of weights starts.
template <size_t Columns>
TR_INLINE const uint32_t* t2_dot(const uint32_t* weights, const uint32_t* column, size_t quads,
                                 int32_t* acc) {
#if TR_DSP
  if (Columns == 4) return t2_dot4(weights, column, quads, acc);
#endif
  for (; quads >= 4; quads -= 4) {
    const uint32_t w = *weights++;
    TR_UNROLL
    for (uint32_t k = 0; k < 8; ++k, column += Columns) {
      t2_pair<Columns>((w >> (2 * k)) & t2_mask, column, acc);
    }
  }
  if (quads != 0) {
    uint32_t w = *weights++;
    for (; quads != 0; --quads, w >>= 4) {
      t2_pair<Columns>(w & t2_mask, column, acc);
      t2_pair<Columns>((w >> 2) & t2_mask, column + Columns, acc);
      column += 2 * Columns;
    }
  }
  return weights;
}

}  // namespace tr

#endif
