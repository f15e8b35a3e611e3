// int8 weights in pairs of channels, and the product of two pixels with four channels.
//
// The idea: the halfword a + 256 * b holds the weights of two output channels. SMLAD of such words
// with int16 inputs sums A + 256 * B; SXTB16 leaves a alone in each halfword, and a second SMLAD
// sums A. Then B = (sum - A) >> 8, exact while |B| < 2^23, which packing proves for every channel.
// The bias of B is added afterwards, so that it may be as large as it likes (up to 2^30 in networks
// with saturated channels). A word of weights is unpacked by one instruction instead of two, and is
// one byte a weight.
//
// Inputs come in quads: bytes (0, 1, 2, 3) become the words (0, 2) and (1, 3) of int16, as SXTB16
// makes them. A column holds, quad after quad, first words of two pixels and then their second
// words: `first(0, 2), second(0, 2), first(1, 3), second(1, 3)`.
//
// Weights come in blocks of four channels c0..c3 (missing ones are zeros):
//   int32  bias c0, c2
//   for each quad: word (c0, c1) of inputs (0, 2), word (c2, c3) of them, the same of (1, 3)
//   int32  bias c1, c3
//   uint8  right shifts of c0..c3, less 1
//   int32  2 * multiplier - 2^32 of c0..c3
// where every bias has the sum of the weights times the input's zero point taken off.
//
// The requantisation is TensorFlow Lite's, rounded twice. SMMLAR gives the first rounding exactly:
// (acc * 2^32 + acc * (2m - 2^32) + 2^31) >> 32 = (acc * m + 2^30) >> 31. The second rounds halves
// away from zero: a negative value is made smaller by 1, which only matters where the result can
// be negative (`away`), shifted by one bit less than asked, and rounded together with the addition
// of the zero point by SHADD16: (v + 1 + 2 * zero) >> 1. Packing proves that v fits int16.
#ifndef TR_RUNTIME_INT8_PAIRS_HPP
#define TR_RUNTIME_INT8_PAIRS_HPP

#include "runtime/int8.hpp"
#include "runtime/int8_simd.hpp"

namespace tr {

constexpr size_t pairs_quad_words = 4;   // of a column, and of the weights
constexpr size_t pairs_block_head = 2;   // words of a block before the weights
constexpr size_t pairs_block_extra = 9;  // words of a block besides the weights

constexpr uint32_t pairs_unrolled = 8;     // quads in a round of the inner loop
constexpr uint32_t pairs_quad_bytes = 96;  // of its code: 24 instructions of four bytes

// What all tiles of a layer share, from its constants. In the order that pairs_tile() likes.
struct PairsLayer {
  TR_INLINE PairsLayer(const void* packed, const RequantizeI8& r, size_t channels, size_t quads)
      : weights(static_cast<const uint32_t*>(packed)), block_bytes(0) {
    const size_t words = pairs_quad_words * quads + pairs_block_extra;
    block_bytes = words * 4;
    end = weights + words * ((channels + 3) / 4);
    loop_end = weights + pairs_block_head + pairs_quad_words * quads;
    const uint32_t rest = static_cast<uint32_t>(quads) % pairs_unrolled;
    entry = (rest == 0 ? pairs_unrolled : rest) * pairs_quad_bytes;
    const uint32_t zero = static_cast<uint32_t>(2 * (r.zero_point + 128) + 1);
    clamp.floor = static_cast<uint32_t>(r.lo + 128) * 0x01010101u;
    clamp.headroom = static_cast<uint32_t>(127 - r.hi) * 0x01010101u;
    finish.rounding = zero | (zero << 16);
    finish.flags =
        (r.lo < r.zero_point ? 1u : 0u) | ((clamp.floor | clamp.headroom) != 0 ? 2u : 0u);
  }
  const uint32_t* weights;
  const uint32_t* end;       // of all blocks
  const uint32_t* loop_end;  // of the first block's weights
  size_t block_bytes;
  uint32_t entry;  // bytes of code between where the loop is entered and its end
  // Pairs of words are loaded by one instruction each.
  struct {
    uint32_t rounding;  // 1 + 2 * (zero point + 128) in both halves
    uint32_t flags;     // 1: halves of negative results matter; 2: floor or headroom is not zero
  } finish;
  struct {
    uint32_t floor;     // lo + 128 in every byte
    uint32_t headroom;  // 127 - hi in every byte
  } clamp;
};

#if TR_DSP

// clang-format off
// 16 products: two inputs of two pixels (r10, r11) times four channels (r12, lr).
#define TR_PAIRS_STEP              \
  "ldrd   r10, r11, [r0], #8\n"    \
  "ldrd   r12, lr, [r1], #8\n"     \
  "smlad  r2, r10, r12, r2\n"      \
  "smlad  r3, r11, r12, r3\n"      \
  "smlad  r4, r10, lr, r4\n"       \
  "smlad  r5, r11, lr, r5\n"       \
  "sxtb16 r12, r12\n"              \
  "sxtb16 lr, lr\n"                \
  "smlad  r6, r10, r12, r6\n"      \
  "smlad  r7, r11, r12, r7\n"      \
  "smlad  r8, r10, lr, r8\n"       \
  "smlad  r9, r11, lr, r9\n"
#define TR_PAIRS_QUAD TR_PAIRS_STEP TR_PAIRS_STEP
#define TR_PAIRS_QUADS_4 TR_PAIRS_QUAD TR_PAIRS_QUAD TR_PAIRS_QUAD TR_PAIRS_QUAD
// clang-format on
// All channels of two pixels: `column` as above, outputs four bytes at a time at `first` and
// `second` (so whole blocks are written).
//
// Sums: r2, r3 = c0 + 256 * c1 of the two pixels, r4, r5 = c2 + 256 * c3, r6, r7 = c0, r8, r9 = c2.
// All registers are taken; the rest lives in the stack frame.
inline TR_NOINLINE void pairs_tile(const PairsLayer& layer, const uint32_t* column, uint8_t* first,
                                   uint8_t* second) {
  PairsLayer frame = layer;
  struct {
    uint8_t* first;
    uint8_t* second;
  } out = {first, second};
  struct {
    const uint32_t* column;
    uint32_t entry;
  } start = {column, layer.entry};
  // clang-format off
  asm volatile(
      "ldr    r1, %[weights]\n"
      "ldrd   r3, r2, %[start]\n"  // the loop is entered so that whole rounds are left
      "adr.w  r0, 3f\n"
      "sub    r0, r0, r2\n"
      "add    r0, r0, #1\n"
      "strd   r3, r0, %[start]\n"
      "1:\n"
      "ldm    r1!, {r6, r8}\n"
      "ldrd   r0, lr, %[start]\n"
      "mov    r2, r6\n"
      "mov    r4, r8\n"
      "mov    r3, r6\n"
      "mov    r5, r8\n"
      "mov    r7, r6\n"
      "mov    r9, r8\n"
      "bx     lr\n"
      ".balign 4\n"
      "2:\n"
      TR_PAIRS_QUADS_4 TR_PAIRS_QUADS_4
      "3:\n"
      "ldr    lr, %[loop_end]\n"
      "cmp    r1, lr\n"
      "bne.w  2b\n"
      "ldr    r12, %[block_bytes]\n"
      "add    lr, lr, r12\n"
      "str    lr, %[loop_end]\n"
      "ldm    r1!, {r10, r11}\n"  // bias of c1 and c3
      "sub    r2, r2, r6\n"
      "sub    r3, r3, r7\n"
      "sub    r4, r4, r8\n"
      "sub    r5, r5, r9\n"
      "add    r2, r10, r2, asr #8\n"
      "add    r3, r10, r3, asr #8\n"
      "add    r4, r11, r4, asr #8\n"
      "add    r5, r11, r5, asr #8\n"
      "ldm    r1!, {r0, r10, r11, r12, lr}\n"  // shifts, multipliers
      "smmlar r6, r6, r10, r6\n"
      "smmlar r7, r7, r10, r7\n"
      "smmlar r2, r2, r11, r2\n"
      "smmlar r3, r3, r11, r3\n"
      "smmlar r8, r8, r12, r8\n"
      "smmlar r9, r9, r12, r9\n"
      "smmlar r4, r4, lr, r4\n"
      "smmlar r5, r5, lr, r5\n"
      "ldrd   r10, r12, %[finish]\n"  // rounding, flags
      "tst    r12, #1\n"
      "beq    4f\n"
      "add    r6, r6, r6, asr #31\n"
      "add    r7, r7, r7, asr #31\n"
      "add    r2, r2, r2, asr #31\n"
      "add    r3, r3, r3, asr #31\n"
      "add    r8, r8, r8, asr #31\n"
      "add    r9, r9, r9, asr #31\n"
      "add    r4, r4, r4, asr #31\n"
      "add    r5, r5, r5, asr #31\n"
      "4:\n"
      "asr    r6, r6, r0\n"  // a shift by a register takes its lowest byte
      "asr    r7, r7, r0\n"
      "lsr    r0, r0, #8\n"
      "asr    r2, r2, r0\n"
      "asr    r3, r3, r0\n"
      "lsr    r0, r0, #8\n"
      "asr    r8, r8, r0\n"
      "asr    r9, r9, r0\n"
      "lsr    r0, r0, #8\n"
      "asr    r4, r4, r0\n"
      "asr    r5, r5, r0\n"
      "pkhbt  r6, r6, r8, lsl #16\n"  // c0, c2
      "pkhbt  r7, r7, r9, lsl #16\n"
      "pkhbt  r2, r2, r4, lsl #16\n"  // c1, c3
      "pkhbt  r3, r3, r5, lsl #16\n"
      "shadd16 r6, r6, r10\n"
      "shadd16 r7, r7, r10\n"
      "shadd16 r2, r2, r10\n"
      "shadd16 r3, r3, r10\n"
      "usat16 r6, #8, r6\n"
      "usat16 r7, #8, r7\n"
      "usat16 r2, #8, r2\n"
      "usat16 r3, #8, r3\n"
      "orr    r6, r6, r2, lsl #8\n"
      "orr    r7, r7, r3, lsl #8\n"
      "tst    r12, #2\n"
      "beq    5f\n"
      "ldrd   r2, r3, %[clamp]\n"  // floor, headroom
      "uqsub8 r6, r6, r2\n"
      "uqsub8 r7, r7, r2\n"
      "uqadd8 r6, r6, r2\n"
      "uqadd8 r7, r7, r2\n"
      "uqadd8 r6, r6, r3\n"
      "uqadd8 r7, r7, r3\n"
      "uqsub8 r6, r6, r3\n"
      "uqsub8 r7, r7, r3\n"
      "5:\n"
      "ldrd   r10, r11, %[out]\n"
      "eor    r6, r6, #0x80808080\n"
      "eor    r7, r7, #0x80808080\n"
      "str    r6, [r10], #4\n"
      "str    r7, [r11], #4\n"
      "ldr    lr, %[end]\n"
      "strd   r10, r11, %[out]\n"
      "cmp    r1, lr\n"
      "bne.w  1b\n"
      : [start] "+m"(start), [loop_end] "+m"(frame.loop_end), [out] "+m"(out)
      : [weights] "m"(frame.weights), [block_bytes] "m"(frame.block_bytes), [end] "m"(frame.end),
        [finish] "m"(frame.finish), [clamp] "m"(frame.clamp)
      : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr",
        "cc", "memory");
  // clang-format on
}
#undef TR_PAIRS_QUADS_4
#undef TR_PAIRS_QUAD
#undef TR_PAIRS_STEP

// One quad of two pixels.
#define TR_PAIRS_EXPAND      \
  "ldr    r3, [%[p]], #4\n"  \
  "ldr    r12, [%[q]], #4\n" \
  "sxtb16 r5, r3, ror #8\n"  \
  "sxtb16 r3, r3\n"          \
  "sxtb16 r6, r12, ror #8\n" \
  "sxtb16 r4, r12\n"         \
  "stmia  %[column]!, {r3, r4, r5, r6}\n"

// Quads of two pixels as columns; returns where the column goes on.
TR_INLINE uint32_t* pairs_expand(uint32_t* column, const uint8_t* p, const uint8_t* q,
                                 size_t quads) {
  const uint32_t* end = column + quads % 4 * pairs_quad_words;
  while (column != end) {
    asm volatile(TR_PAIRS_EXPAND
                 : [p] "+r"(p), [q] "+r"(q), [column] "+r"(column)
                 :
                 : "r3", "r4", "r5", "r6", "r12", "memory");
  }
  end = column + (quads & ~static_cast<size_t>(3)) * pairs_quad_words;
  while (column != end) {
    asm volatile(TR_PAIRS_EXPAND TR_PAIRS_EXPAND TR_PAIRS_EXPAND TR_PAIRS_EXPAND
                 : [p] "+r"(p), [q] "+r"(q), [column] "+r"(column)
                 :
                 : "r3", "r4", "r5", "r6", "r12", "memory");
  }
  return column;
}
#undef TR_PAIRS_EXPAND

// Move four words; returns where they end.
TR_INLINE uint32_t* pairs_move4(uint32_t* to, const uint32_t*& from) {
  asm volatile(
      "ldmia  %[from]!, {r3, r4, r5, r6}\n"
      "stmia  %[to]!, {r3, r4, r5, r6}\n"
      : [from] "+r"(from), [to] "+r"(to)
      :
      : "r3", "r4", "r5", "r6", "memory");
  return to;
}

#else

TR_INLINE uint32_t* pairs_move4(uint32_t* to, const uint32_t*& from) {
  for (size_t i = 0; i < 4; ++i) *to++ = *from++;
  return to;
}

// The sums of two channels whose weights share words: of the first one, and of halfwords as they
// are, which is that plus 256 times the second one without its bias (and fits, as the packer has
// checked).
struct PairSums {
  int32_t first;
  uint32_t both;
};

TR_INLINE PairSums pairs_start(uint32_t bias) { return {static_cast<int32_t>(bias), bias}; }

TR_INLINE int32_t pairs_second(const PairSums& s, uint32_t bias) {
  const int32_t sum = static_cast<int32_t>(s.both - static_cast<uint32_t>(s.first)) >> 8;
  return static_cast<int32_t>(static_cast<uint32_t>(sum) + bias);
}

// Two inputs times a word of weights.
TR_INLINE void pairs_add(PairSums& s, uint32_t word, int32_t x0, int32_t x1) {
  const int32_t low = low_half(word), high = high_half(word);
  s.first += static_cast<int8_t>(low) * x0 + static_cast<int8_t>(high) * x1;
  s.both += static_cast<uint32_t>(low * x0) + static_cast<uint32_t>(high * x1);
}

// `sums` of the block of four channels at `weights`, for the inputs at `x` and every `step` words
// behind it; returns the block's constants.
inline TR_NOINLINE const uint32_t* pairs_sums(const uint32_t* weights, const uint32_t* x,
                                              size_t step, size_t pairs, int32_t* sums) {
  PairSums a = pairs_start(weights[0]), b = pairs_start(weights[1]);
  weights += pairs_block_head;
  for (const uint32_t* end = weights + 2 * pairs; weights != end; weights += 2, x += step) {
    const int32_t x0 = low_half(*x), x1 = high_half(*x);
    pairs_add(a, weights[0], x0, x1);
    pairs_add(b, weights[1], x0, x1);
  }
  sums[0] = a.first;
  sums[1] = pairs_second(a, weights[0]);
  sums[2] = b.first;
  sums[3] = pairs_second(b, weights[1]);
  return weights + 2;
}

// The four outputs of one pixel and block, from its sums.
TR_INLINE uint32_t pairs_outputs(const PairsLayer& layer, const uint32_t* constants,
                                 const int32_t* sums) {
  const int32_t zero = static_cast<int32_t>(layer.finish.rounding & 0xffffu) / 2;
  const int32_t lo = static_cast<int32_t>(layer.clamp.floor & 0xffu);
  const int32_t hi = 255 - static_cast<int32_t>(layer.clamp.headroom & 0xffu);
  uint32_t word = 0;
  for (size_t c = 0; c < 4; ++c) {
    const int32_t shift = static_cast<int32_t>((constants[0] >> (8 * c)) & 0xffu) + 1;
    const int32_t multiplier = static_cast<int32_t>(constants[1 + c] >> 1);  // 2m mod 2^32
    const int32_t value = multiply_by_quantized(sums[c], multiplier, -shift) + zero;
    word |= static_cast<uint32_t>(value < lo ? lo : value > hi ? hi : value) << (8 * c);
  }
  return word ^ 0x80808080u;
}

inline TR_NOINLINE void pairs_tile(const PairsLayer& layer, const uint32_t* column, uint8_t* first,
                                   uint8_t* second) {
  const size_t pairs = (layer.block_bytes / 4 - pairs_block_extra) / 2;
  for (const uint32_t* weights = layer.weights; weights != layer.end; first += 4, second += 4) {
    int32_t sums[2][4];
    pairs_sums(weights, column, 2, pairs, sums[0]);
    weights = pairs_sums(weights, column + 1, 2, pairs, sums[1]);
    store4(first, pairs_outputs(layer, weights, sums[0]));
    store4(second, pairs_outputs(layer, weights, sums[1]));
    weights += 5;
  }
}

TR_INLINE uint32_t* pairs_expand(uint32_t* column, const uint8_t* p, const uint8_t* q,
                                 size_t quads) {
  for (; quads != 0; --quads, p += 4, q += 4, column += pairs_quad_words) {
    const uint32_t x = load4(p), y = load4(q);
    column[0] = sxtb16(x);
    column[1] = sxtb16(y);
    column[2] = sxtb16_ror8(x);
    column[3] = sxtb16_ror8(y);
  }
  return column;
}

#endif

}  // namespace tr

#endif
