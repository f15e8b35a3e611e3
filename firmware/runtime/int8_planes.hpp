// Depthwise windows of up to 3x3: planes of int16, column after column, and the sums over them.
//
// Four channels at a time become four planes. A plane's column is a run of words, each with two
// rows, (2j, 2j + 1), so that SMLAD takes two rows at once; the columns of the four planes lie
// behind each other, a fixed distance apart, which leaves every register to weights and sums.
//
// Weights of a channel, nine words (kernels smaller than 3x3 are filled up with zeros):
//   for each of three columns: rows (0, 1), rows (1, 2)
//   int32 bias, with the sum of the weights times the input's zero point taken off
//   int32 2 * multiplier - 2^32, right shift less 1 (int8_pairs.hpp says how they are used); bit 8
//   of the latter says that the channel needs care, see plane_channel()
#ifndef TR_RUNTIME_INT8_PLANES_HPP
#define TR_RUNTIME_INT8_PLANES_HPP

#include "runtime/int8.hpp"
#include "runtime/int8_simd.hpp"

namespace tr {

constexpr size_t plane_rows = 28;                 // in scratch, at most
constexpr size_t plane_words = plane_rows / 2;    // of one column of one plane
constexpr size_t planes_words = 4 * plane_words;  // of one column of all of them
constexpr size_t plane_record = 9;                // words of a channel's weights
constexpr uint32_t plane_careful = 0x100;         // of its last word

// What a channel's outputs are made with, and where they go.
struct PlaneWalk {
  uint8_t* out;       // first output
  size_t row_bytes;   // from one row of the output to the next
  size_t step_bytes;  // from one column to the next
  uint32_t rows, columns;
  uint32_t rounding;  // 1 + 2 * zero point in both halves
};

#if TR_DSP

// clang-format off
// One column of the window: r8 and r9 are the sums of two outputs, one above the other.
#define TR_PLANES_COLUMN_1(at, below, first, second, low, high)  \
  "ldrd   r10, r11, [r0, #" at "]\n"                            \
  "smlad  r8, r10, " first ", " low "\n"                        \
  "smlatb r9, r10, " first ", " high "\n"                       \
  "smlabt r8, r11, " second ", r8\n"                            \
  "smlad  r9, r11, " second ", r9\n"
// The same where the outputs are two rows apart.
#define TR_PLANES_COLUMN_2(at, below, first, second, low, high)  \
  "ldrd   r10, r11, [r0, #" at "]\n"                            \
  "smlad  r8, r10, " first ", " low "\n"                        \
  "ldr    r10, [r0, #" below "]\n"                              \
  "smlad  r9, r11, " first ", " high "\n"                       \
  "smlabt r8, r11, " second ", r8\n"                            \
  "smlabt r9, r10, " second ", r9\n"
#define TR_PLANES_WINDOW(column)                     \
  column("0", "8", "r2", "r3", "r12", "r12")         \
  column("224", "232", "r4", "r5", "r8", "r9")       \
  column("448", "456", "r6", "r7", "r8", "r9")

// All outputs of one channel, whose plane starts at `plane`; two rows at a time, from top to
// bottom. The second of the last two rows may not exist: then both are stored to one place, the
// first one last. With Careful halves of negative results go away from zero, and values that leave
// int16 before they are clamped are clamped to it.
template <unsigned Stride, bool Careful>
TR_NOINLINE void plane_channel(const uint32_t* weights, const uint32_t* plane,
                               const PlaneWalk& walk) {
  const uint32_t odd = walk.rows & 1u;
  const size_t row_bytes = walk.row_bytes, step_bytes = walk.step_bytes;
  const size_t paired_bytes = walk.rows / 2 * 4 * Stride;
  const struct {
    uint32_t shift, rounding;
  } finish = {weights[8], walk.rounding};
  uint8_t* out = walk.out;
  uint32_t left = walk.columns;
  struct {
    size_t row_bytes;
    const uint32_t* end;
  } rows;
  asm volatile(
      "ldr    r0, %[weights]\n"
      "ldm    r0, {r2, r3, r4, r5, r6, r7, r12, lr}\n"
      "1:\n"
      "ldr    r0, %[plane]\n"
      "ldr    r1, %[out]\n"
      "ldr    r10, %[row_bytes]\n"
      "ldr    r11, %[paired_bytes]\n"
      "add    r11, r11, r0\n"
      "strd   r10, r11, %[rows]\n"
      "cmp    r0, r11\n"
      "beq    3f\n"
      "2:\n"
      ".if %c[stride] == 1\n"
      TR_PLANES_WINDOW(TR_PLANES_COLUMN_1)
      ".else\n"
      TR_PLANES_WINDOW(TR_PLANES_COLUMN_2)
      ".endif\n"
      "adds   r0, #4 * %c[stride]\n"
      "smmlar r8, r8, lr, r8\n"
      "smmlar r9, r9, lr, r9\n"
      ".if %c[careful]\n"
      "add    r8, r8, r8, asr #31\n"
      "add    r9, r9, r9, asr #31\n"
      ".endif\n"
      "ldrd   r10, r11, %[finish]\n"
      "asr    r8, r8, r10\n"
      "asr    r9, r9, r10\n"
      ".if %c[careful]\n"
      "ssat   r8, #16, r8\n"
      "ssat   r9, #16, r9\n"
      ".endif\n"
      "pkhbt  r8, r8, r9, lsl #16\n"
      "shadd16 r8, r8, r11\n"
      "ssat16 r8, #8, r8\n"
      "ldrd   r10, r11, %[rows]\n"
      "lsr    r9, r8, #16\n"
      "strb   r9, [r1, r10]\n"
      "strb   r8, [r1]\n"
      "add    r1, r1, r10, lsl #1\n"
      "cmp    r0, r11\n"
      "bne    2b\n"
      "3:\n"
      "ldr    r9, %[odd]\n"
      "cmp    r9, #0\n"
      "beq    4f\n"
      "cmp    r10, #0\n"  // 0: the last row was done
      "beq    4f\n"
      "mov    r10, #0\n"
      "add    r11, r11, #4 * %c[stride]\n"
      "strd   r10, r11, %[rows]\n"
      "b      2b\n"
      "4:\n"
      "ldr    r0, %[plane]\n"
      "add    r0, r0, #224 * %c[stride]\n"
      "str    r0, %[plane]\n"
      "ldr    r1, %[out]\n"
      "ldr    r9, %[step_bytes]\n"
      "add    r1, r1, r9\n"
      "str    r1, %[out]\n"
      "ldr    r9, %[left]\n"
      "subs   r9, r9, #1\n"
      "str    r9, %[left]\n"
      "bne    1b\n"
      : [plane] "+m"(plane), [out] "+m"(out), [left] "+m"(left), [rows] "=m"(rows)
      : [weights] "m"(weights), [row_bytes] "m"(row_bytes), [paired_bytes] "m"(paired_bytes),
        [step_bytes] "m"(step_bytes), [finish] "m"(finish), [odd] "m"(odd), [careful] "i"(Careful ? 1 : 0),
        [stride] "i"(Stride)
      : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr",
        "cc", "memory");
}
// clang-format on
#undef TR_PLANES_WINDOW
#undef TR_PLANES_COLUMN_2
#undef TR_PLANES_COLUMN_1

#else

template <unsigned Stride, bool Careful>
TR_NOINLINE void plane_channel(const uint32_t* weights, const uint32_t* plane,
                               const PlaneWalk& walk) {
  const int32_t zero = low_half(walk.rounding) >> 1;
  const int32_t multiplier = static_cast<int32_t>(weights[7] >> 1);
  const int32_t shift = -static_cast<int32_t>(weights[8] & 0xffu) - 1;
  uint8_t* column = walk.out;
  for (uint32_t x = 0; x < walk.columns; ++x, column += walk.step_bytes) {
    uint8_t* out = column;
    for (uint32_t y = 0; y < walk.rows * Stride; y += Stride, out += walk.row_bytes) {
      int32_t sum = static_cast<int32_t>(weights[6]);
      for (size_t i = 0; i < 3; ++i) {
        const uint32_t* rows = plane + i * planes_words + y / 2;
        const uint32_t upper = weights[2 * i], lower = weights[2 * i + 1];
        if (y % 2 == 0) {
          sum += low_half(rows[0]) * low_half(upper) + high_half(rows[0]) * high_half(upper) +
                 low_half(rows[1]) * high_half(lower);
        } else {
          sum += high_half(rows[0]) * low_half(upper) + low_half(rows[1]) * low_half(lower) +
                 high_half(rows[1]) * high_half(lower);
        }
      }
      const int32_t value = multiply_by_quantized(sum, multiplier, shift) + zero;
      *out = static_cast<uint8_t>(clamp_i8(value, -128, 127));
    }
    plane += Stride * planes_words;
  }
}

#endif

// A word of each of four planes, from four channels of two pixels, one below the other.
TR_INLINE void planes_word(uint32_t* to, uint32_t upper, uint32_t lower) {
  const uint32_t even = sxtb16(upper), even_below = sxtb16(lower);
  const uint32_t odd = sxtb16_ror8(upper), odd_below = sxtb16_ror8(lower);
  to[plane_words] = low_halves(odd, odd_below);
  to[2 * plane_words] = high_halves(even, even_below);
  to[3 * plane_words] = high_halves(odd, odd_below);
  to[0] = low_halves(even, even_below);
}

// `pairs` such words below each other, from pixels `row_bytes` apart.
TR_INLINE void planes_expand(uint32_t* to, const uint8_t* pixel, size_t row_bytes, uint32_t pairs) {
  for (; pairs != 0; --pairs, pixel += 2 * row_bytes, ++to) {
    planes_word(to, load4(pixel), load4(pixel + row_bytes));
  }
}

}  // namespace tr

#endif
