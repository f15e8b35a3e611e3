// Compiled weights: the text that codegen/compiled.py writes for a block of at most four channels,
// as straight-line code on cores with DSP instructions, as C++ elsewhere.
//
// A block is a function that goes through the words of a row of the output (planar.hpp) and leaves
// the sums of its four channels, eight words of halfwords, for each. Its text is
//   TR_BLOCK(name)                                    the function begins
//     TR_START(j, v) or TR_ZERO(j)                    output j starts at -v, or at 0
//     TR_MIXED0(a, b) ... TR_MINUS_ONE0(a)            the first input or pair, then the others:
//     TR_MIXED(a, b), TR_PLUS(a, b), TR_MINUS(a, b)   a - b, a + b, -a - b to the running sum,
//     TR_PLUS_ONE(a), TR_MINUS_ONE(a)                 a, -a
//     TR_ADD(j), TR_SUB(j)                            the running sum to output j
//     TR_EXCESS(j, v)                                 v is taken off output j
//   TR_END(name)
// (names that end in 0 begin a running sum)
// with TR_N(r, o) for the input `o` bytes behind the first tap, loaded to r (x or y), or
// TR_F(r, h, o) where h + o is beyond the reach of a load. The running sum is the one of
// class_codes.hpp. With DSP instructions the complement 255 - (a + b) of minus pairs is added, and
// TR_START puts that right; without, mixed pairs give 128 too much, and TR_EXCESS puts that right.
#ifndef TR_RUNTIME_CLASS_COMPILED_HPP
#define TR_RUNTIME_CLASS_COMPILED_HPP

#include "runtime/class_lists.hpp"
#include "runtime/layers.hpp"

namespace tr {

// `words` words of a row: the first tap of the first one at `base`, of the next ones `step` bytes
// further each; eight words of sums for each go to `sums`.
using CompiledBlock = void (*)(const uint8_t* base, uint32_t* sums, uint32_t words, uint32_t step);

// The blocks of a layer, one after the other.
using CompiledLayer = const CompiledBlock*;

}  // namespace tr

#if TR_DSP

// Registers: r0 the first tap; r1, r2 the running sums; r3 to r10 the outputs; r11 (x), r12 (y).
#define TR_R_x "r11"
#define TR_R_y "r12"
#define TR_EVEN_0 "r3"
#define TR_ODD_0 "r4"
#define TR_EVEN_1 "r5"
#define TR_ODD_1 "r6"
#define TR_EVEN_2 "r7"
#define TR_ODD_2 "r8"
#define TR_EVEN_3 "r9"
#define TR_ODD_3 "r10"
#define TR_BLOCK(name)                                                                           \
  extern "C" void tr_##name(const uint8_t*, uint32_t*, uint32_t, uint32_t);                      \
  asm(".pushsection .text.tr_" #name ", \"ax\", %progbits\n.syntax unified\n.thumb\n.balign 4\n"  \
      ".global tr_" #name "\n.type tr_" #name ", %function\n.thumb_func\ntr_" #name ":\n"   \
      "push.w {r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"                          \
      "1:\n"
#define TR_ZERO(j) "mov.w " TR_EVEN_##j ", #0\nmov.w " TR_ODD_##j ", #0\n"
#define TR_START(j, v)                                               \
  "movw " TR_EVEN_##j ", #((-(" #v ")) & 0xffff)\nmovt " TR_EVEN_##j \
      ", #((-(" #v ")) & 0xffff)\nmov.w " TR_ODD_##j ", " TR_EVEN_##j "\n"
#define TR_N(r, o) "ldr.w " TR_R_##r ", [r0, #" #o "]\n"
#define TR_F(r, h, o) \
  "add.w " TR_R_##r ", r0, #" #h "\nldr.w " TR_R_##r ", [" TR_R_##r ", #" #o "]\n"
#define TR_SIGNED "sxtab16 r1, r1, r11\nsxtab16 r2, r2, r11, ror #8\n"
#define TR_UNSIGNED "uxtab16 r1, r1, r11\nuxtab16 r2, r2, r11, ror #8\n"
#define TR_SIGNED0 "sxtb16 r1, r11\nsxtb16 r2, r11, ror #8\n"
#define TR_UNSIGNED0 "uxtb16 r1, r11\nuxtb16 r2, r11, ror #8\n"
#define TR_DIFFERENCE "usub8 r11, r11, r12\n"
#define TR_SUM "uadd8 r11, r11, r12\n"
#define TR_NOT "mvn.w r11, r11\n"
#define TR_MIXED(a, b) a b TR_DIFFERENCE TR_SIGNED
#define TR_PLUS(a, b) a b TR_SUM TR_UNSIGNED
#define TR_MINUS(a, b) a b TR_SUM TR_NOT TR_UNSIGNED
#define TR_PLUS_ONE(a) a TR_UNSIGNED
#define TR_MINUS_ONE(a) a TR_NOT TR_UNSIGNED
#define TR_MIXED0(a, b) a b TR_DIFFERENCE TR_SIGNED0
#define TR_PLUS0(a, b) a b TR_SUM TR_UNSIGNED0
#define TR_MINUS0(a, b) a b TR_SUM TR_NOT TR_UNSIGNED0
#define TR_PLUS_ONE0(a) a TR_UNSIGNED0
#define TR_MINUS_ONE0(a) a TR_NOT TR_UNSIGNED0
#define TR_ADD(j)                        \
  "sadd16 " TR_EVEN_##j ", " TR_EVEN_##j \
      ", r1\n"                           \
      "sadd16 " TR_ODD_##j ", " TR_ODD_##j ", r2\n"
#define TR_SUB(j)                        \
  "ssub16 " TR_EVEN_##j ", " TR_EVEN_##j \
      ", r1\n"                           \
      "ssub16 " TR_ODD_##j ", " TR_ODD_##j ", r2\n"
#define TR_EXCESS(j, v)
#define TR_END(name)                                           \
  "ldrd r11, r12, [sp]\n"                                                                  \
  "ldr.w lr, [sp, #8]\n"                                                                   \
  "stmia.w r11!, {r3, r4, r5, r6, r7, r8, r9, r10}\n"                                      \
  "add.w r0, r0, lr\n"                                                                     \
  "subs.w r12, r12, #1\n"                                                                  \
  "strd r11, r12, [sp]\n"                                                                  \
  "bne.w 1b\n"                                                                             \
  "pop.w {r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, pc}\n"                             \
  ".size tr_" #name ", . - tr_" #name "\n.popsection\n");

#else

#define TR_BLOCK(name)                                                                        \
  static void tr_##name(const uint8_t* base, uint32_t* sums, uint32_t words, uint32_t step) { \
    for (; words != 0; --words, base += step, sums += 8) {                                    \
      uint32_t s = 0;                                                                         \
      uint32_t t = 0;                                                                         \
      uint32_t x = 0;                                                                         \
      uint32_t y = 0;                                                                         \
      uint32_t even[4];                                                                       \
      uint32_t odd[4];
#define TR_ZERO(j) even[j] = odd[j] = 0;
#define TR_START(j, v) even[j] = odd[j] = 0;
#define TR_N(r, o) r = tr::lists_load(base + o);
#define TR_F(r, h, o) r = tr::lists_load(base + h + o);
#define TR_MIXED(a, b) a b tr::lists_widen((x | 0x80808080u) - y, s, t);
#define TR_PLUS(a, b) a b tr::lists_widen(x + y, s, t);
#define TR_MINUS(a, b) a b tr::lists_widen_minus(x + y, s, t);
#define TR_PLUS_ONE(a) a tr::lists_widen(x, s, t);
#define TR_MINUS_ONE(a) a tr::lists_widen_minus(x, s, t);
#define TR_MIXED0(a, b) \
  s = t = 0;            \
  TR_MIXED(a, b)
#define TR_PLUS0(a, b) \
  s = t = 0;           \
  TR_PLUS(a, b)
#define TR_MINUS0(a, b) \
  s = t = 0;            \
  TR_MINUS(a, b)
#define TR_PLUS_ONE0(a) \
  s = t = 0;            \
  TR_PLUS_ONE(a)
#define TR_MINUS_ONE0(a) \
  s = t = 0;             \
  TR_MINUS_ONE(a)
#define TR_ADD(j) \
  even[j] += s;   \
  odd[j] += t;
#define TR_SUB(j) \
  even[j] -= s;   \
  odd[j] -= t;
#define TR_EXCESS(j, v) tr::lists_lanes(&even[j], &odd[j], static_cast<uint32_t>(v));
#define TR_END(name)                 \
  for (uint32_t j = 0; j < 4; ++j) { \
    sums[2 * j] = even[j];           \
    sums[2 * j + 1] = odd[j];        \
  }                                  \
  static_cast<void>(base);           \
  static_cast<void>(x + y + s + t);  \
  }                                  \
  }

#endif

#endif
