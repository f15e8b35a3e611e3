// The product of one vector with the weights of int8_pairs.hpp: four channels at a time.
#ifndef TR_RUNTIME_INT8_PAIRS_ROW_HPP
#define TR_RUNTIME_INT8_PAIRS_ROW_HPP

#include "runtime/int8_pairs.hpp"

namespace tr {

constexpr uint32_t pairs_row_unrolled = 4;     // quads in a round of the inner loop
constexpr uint32_t pairs_row_quad_bytes = 56;  // of its code: 14 instructions of four bytes

#if TR_DSP

// clang-format off
// 16 products: a quad of inputs (r6, r7) times four channels (r8 to r11).
#define TR_PAIRS_ROW_QUAD                \
  "ldm    r1!, {r8, r9, r10, r11}\n"     \
  "ldrd   r6, r7, [r0], #8\n"            \
  "smlad  r2, r6, r8, r2\n"              \
  "smlad  r3, r6, r9, r3\n"              \
  "sxtb16 r8, r8\n"                      \
  "sxtb16 r9, r9\n"                      \
  "smlad  r4, r6, r8, r4\n"              \
  "smlad  r5, r6, r9, r5\n"              \
  "smlad  r2, r7, r10, r2\n"             \
  "smlad  r3, r7, r11, r3\n"             \
  "sxtb16 r10, r10\n"                    \
  "sxtb16 r11, r11\n"                    \
  "smlad  r4, r7, r10, r4\n"             \
  "smlad  r5, r7, r11, r5\n"

// All channels of one vector, whose quads are words (0, 2), (1, 3); whole blocks are written.
//
// Sums: r2 = c0 + 256 * c1, r3 = c2 + 256 * c3, r4 = c0, r5 = c2.
inline TR_NOINLINE void pairs_row(const PairsLayer& layer, const uint32_t* vector, uint8_t* out) {
  const size_t quads = (layer.block_bytes / 4 - pairs_block_extra) / pairs_quad_words;
  const uint32_t rest = static_cast<uint32_t>(quads) % pairs_row_unrolled;
  uint32_t entry = (rest == 0 ? pairs_row_unrolled : rest) * pairs_row_quad_bytes;
  PairsLayer frame = layer;
  asm volatile(
      "ldr    r1, %[weights]\n"
      "ldr    r2, %[entry]\n"
      "ldr    r12, %[loop_end]\n"
      "adr.w  lr, 3f\n"
      "sub    lr, lr, r2\n"
      "add    lr, lr, #1\n"
      "1:\n"
      "ldm    r1!, {r4, r5}\n"
      "ldr    r0, %[vector]\n"
      "mov    r2, r4\n"
      "mov    r3, r5\n"
      "bx     lr\n"
      ".balign 4\n"
      "2:\n"
      TR_PAIRS_ROW_QUAD TR_PAIRS_ROW_QUAD TR_PAIRS_ROW_QUAD TR_PAIRS_ROW_QUAD
      "3:\n"
      "cmp    r1, r12\n"
      "bne    2b\n"
      "ldr    r0, %[block_bytes]\n"
      "ldm    r1!, {r6, r7}\n"  // bias of c1 and c3
      "sub    r2, r2, r4\n"
      "sub    r3, r3, r5\n"
      "add    r12, r12, r0\n"
      "add    r2, r6, r2, asr #8\n"
      "add    r3, r7, r3, asr #8\n"
      "ldm    r1!, {r6, r8, r9, r10, r11}\n"  // shifts, multipliers
      "smmlar r4, r4, r8, r4\n"
      "smmlar r2, r2, r9, r2\n"
      "smmlar r5, r5, r10, r5\n"
      "smmlar r3, r3, r11, r3\n"
      "ldrd   r8, r7, %[finish]\n"  // rounding, flags
      "tst    r7, #1\n"
      "beq    4f\n"
      "add    r4, r4, r4, asr #31\n"
      "add    r2, r2, r2, asr #31\n"
      "add    r5, r5, r5, asr #31\n"
      "add    r3, r3, r3, asr #31\n"
      "4:\n"
      "asr    r4, r4, r6\n"  // a shift by a register takes its lowest byte
      "lsr    r6, r6, #8\n"
      "asr    r2, r2, r6\n"
      "lsr    r6, r6, #8\n"
      "asr    r5, r5, r6\n"
      "lsr    r6, r6, #8\n"
      "asr    r3, r3, r6\n"
      "pkhbt  r4, r4, r5, lsl #16\n"  // c0, c2
      "pkhbt  r2, r2, r3, lsl #16\n"  // c1, c3
      "shadd16 r4, r4, r8\n"
      "shadd16 r2, r2, r8\n"
      "usat16 r4, #8, r4\n"
      "usat16 r2, #8, r2\n"
      "orr    r4, r4, r2, lsl #8\n"
      "tst    r7, #2\n"
      "beq    5f\n"
      "ldrd   r2, r3, %[clamp]\n"  // floor, headroom
      "uqsub8 r4, r4, r2\n"
      "uqadd8 r4, r4, r2\n"
      "uqadd8 r4, r4, r3\n"
      "uqsub8 r4, r4, r3\n"
      "5:\n"
      "ldr    r0, %[out]\n"
      "eor    r4, r4, #0x80808080\n"
      "ldr    r6, %[end]\n"
      "str    r4, [r0], #4\n"
      "str    r0, %[out]\n"
      "cmp    r1, r6\n"
      "bne    1b\n"
      : [out] "+m"(out)
      : [weights] "m"(frame.weights), [vector] "m"(vector), [block_bytes] "m"(frame.block_bytes),
        [loop_end] "m"(frame.loop_end), [end] "m"(frame.end), [finish] "m"(frame.finish),
        [clamp] "m"(frame.clamp), [entry] "m"(entry)
      : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr",
        "cc", "memory");
}
// clang-format on
#undef TR_PAIRS_ROW_QUAD

#else

inline TR_NOINLINE void pairs_row(const PairsLayer& layer, const uint32_t* vector, uint8_t* out) {
  const size_t pairs = (layer.block_bytes / 4 - pairs_block_extra) / 2;
  for (const uint32_t* weights = layer.weights; weights != layer.end; out += 4) {
    int32_t sums[4];
    weights = pairs_sums(weights, vector, 1, pairs, sums);
    store4(out, pairs_outputs(layer, weights, sums));
    weights += 5;
  }
}

#endif

// `count` bytes as such a vector, its last quad filled up with zeros.
TR_INLINE void pairs_expand_row(uint32_t* vector, const uint8_t* in, size_t count) {
  for (; count >= 4; count -= 4, in += 4, vector += 2) {
    const uint32_t x = load4(in);
    vector[0] = sxtb16(x);
    vector[1] = sxtb16_ror8(x);
  }
  if (count == 0) return;
  uint32_t x = in[0];
  if (count > 1) x |= static_cast<uint32_t>(in[1]) << 8;
  if (count > 2) x |= static_cast<uint32_t>(in[2]) << 16;
  vector[0] = sxtb16(x);
  vector[1] = sxtb16_ror8(x);
}

}  // namespace tr

#endif
