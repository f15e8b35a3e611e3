// Class sums from lists: the running sums over the classes for eight pixels at a time.
//
// Inputs stand in words of four pixels (byte lanes, as in planar.hpp); an input of the window is a
// byte offset from the word of the first tap. Two inputs of 0..127 make one byte-lane operation:
// one of sign + and one of sign - are subtracted, two of the same sign added; the result is widened
// into 16-bit sums. Of two of sign - the complement 255 - (a + b) is added instead, and without DSP
// instructions the difference is 128 + a - b; what that is too much is known when the lists are
// made.
//
// With DSP instructions there are two streams. `entries`: per class, one word for every pair, plus
// in its low half, minus in its high half; then, of the sign that has more, the rest one by one in
// the half of their sign. `steps`: the addresses of the code to run next, so that there is neither
// a counter nor a compare in the loop: a step is a piece of unrolled code that ends by jumping to
// the next. Without DSP instructions `steps` holds the two counts of every class.
#ifndef TR_RUNTIME_CLASS_LISTS_HPP
#define TR_RUNTIME_CLASS_LISTS_HPP

#include "runtime/class_codes.hpp"

namespace tr {

// The running sums of eight pixels, words 0 and 1 of four pixels each. With DSP instructions
// halfwords: (0, 2), (1, 3) of word 0, then of word 1. Without: 32-bit sums, which lists_lanes()
// takes apart.
struct ClassSums {
  uint32_t s[4];
};

struct Lists {
  uint32_t* entries;
  uint32_t* steps;
  size_t second;  // bytes from a word to the second one
};

constexpr uint32_t lists_unroll = 6;

#if TR_DSP

// Where the pieces of code lie, in bytes from the first one on. `strided` code reads the second
// word `second` bytes further, the other the next word.
struct StepMap {
  constexpr explicit StepMap(bool strided)
      : pair(strided ? 52 : 44),
        minus_pair(strided ? 60 : 52),
        mixed_end(lists_unroll * pair),
        plus_end(mixed_end + 4 + lists_unroll * pair),
        minus_end(plus_end + 4 + lists_unroll * minus_pair),
        minus_one(minus_end + 4),
        plus_one(minus_one + (strided ? 48 : 44)),
        store(plus_one + (strided ? 32 : 28)),
        end(store + 8) {}
  uint32_t pair, minus_pair, mixed_end, plus_end, minus_end, minus_one, plus_one, store, end;
};

#define TR_LOAD_PLAIN(x, y, from) "ldrd " x ", " y ", [" from "]\n"
// `y` may be the register that holds the address.
#define TR_LOAD_STRIDED(x, y, from) \
  "ldr.w " x ", [" from             \
  "]\n"                             \
  "ldr.w " y ", [" from ", %[second]]\n"
#define TR_WIDEN(op)                                                        \
  op " r3, r3, %[x]\n" op " r4, r4, %[x], ror #8\n" op " r5, r5, %[y]\n" op \
     " r6, r6, %[y], ror #8\n"
#define TR_NEXT "ldr.w pc, [%[steps]], #4\n"
#define TR_MIXED(LOAD) \
  "ldr.w %[p], [%[entries]], #4\n"              \
  "uxtah %[q], %[base], %[p]\n"                 \
  "add.w %[p], %[base], %[p], lsr #16\n"        \
  LOAD("%[x]", "%[y]", "%[q]")                  \
  LOAD("%[q]", "%[p]", "%[p]")                  \
  "usub8 %[x], %[x], %[q]\n"                    \
  "usub8 %[y], %[y], %[p]\n" TR_WIDEN("sxtab16")
#define TR_PLUS(LOAD) \
  "ldrd %[p], %[q], [%[entries]], #8\n"         \
  "uxtah %[p], %[base], %[p]\n"                 \
  "uxtah %[q], %[base], %[q]\n"                 \
  LOAD("%[x]", "%[y]", "%[p]")                  \
  LOAD("%[p]", "%[q]", "%[q]")                  \
  "uadd8 %[x], %[x], %[p]\n"                    \
  "uadd8 %[y], %[y], %[q]\n" TR_WIDEN("uxtab16")
#define TR_MINUS(LOAD) \
  "ldrd %[p], %[q], [%[entries]], #8\n"         \
  "add.w %[p], %[base], %[p], lsr #16\n"        \
  "add.w %[q], %[base], %[q], lsr #16\n"        \
  LOAD("%[x]", "%[y]", "%[p]")                  \
  LOAD("%[p]", "%[q]", "%[q]")                  \
  "uadd8 %[x], %[x], %[p]\n"                    \
  "uadd8 %[y], %[y], %[q]\n"                    \
  "mvn.w %[x], %[x]\n"                          \
  "mvn.w %[y], %[y]\n" TR_WIDEN("uxtab16")
#define TR_STORE "stmia.w %[sums]!, {r3, r4, r5, r6}\n" TR_NEXT
#define TR_LISTS_CODE(LOAD) \
  "cmp   %[sums], #0\n"                                                            \
  "beq   2f\n" TR_NEXT                                                             \
  ".balign 4\n"                                                                    \
  "1:\n"                                                                           \
  ".rept %c[unroll]\n" TR_MIXED(LOAD) ".endr\n" TR_NEXT                            \
  ".rept %c[unroll]\n" TR_PLUS(LOAD) ".endr\n" TR_NEXT                             \
  ".rept %c[unroll]\n" TR_MINUS(LOAD) ".endr\n" TR_NEXT                            \
  "ldr.w %[p], [%[entries]], #4\n"                                                 \
  "add.w %[p], %[base], %[p], lsr #16\n" LOAD("%[x]", "%[y]", "%[p]")              \
  "mvn.w %[x], %[x]\n"                                                             \
  "mvn.w %[y], %[y]\n" TR_WIDEN("uxtab16") TR_STORE                                \
  "ldr.w %[p], [%[entries]], #4\n"                                                 \
  "uxtah %[p], %[base], %[p]\n" LOAD("%[x]", "%[y]", "%[p]")                       \
  TR_WIDEN("uxtab16") TR_STORE                                                     \
  ".if (. - 1b) - %c[end]\n"                                                       \
  ".error \"class lists: the code is not where its addresses say\"\n"              \
  ".endif\n"                                                                       \
  "b     3f\n"                                                                     \
  "2:\n"                                                                           \
  "adr.w %[steps], 1b\n"                                                           \
  "3:\n"
#define TR_LISTS_OUT                                                                             \
  [entries] "+r"(entries), [steps] "+r"(steps), [sums] "+r"(sums), "+r"(s0), "+r"(s1), "+r"(s2), \
      "+r"(s3), [p] "=&r"(p), [q] "=&r"(q), [x] "=&r"(x), [y] "=&r"(y)

// Sum up all classes for the two words at `base` into `sums`. With `sums` null: only give the
// address of the first piece of code.
template <bool strided>
TR_NOINLINE uint32_t lists_run(const Lists& lists, const uint8_t* base, ClassSums* sums) {
  constexpr StepMap map(strided);
  const uint32_t* entries = lists.entries;
  const uint32_t* steps = lists.steps;
  register uint32_t s0 asm("r3") = 0;
  register uint32_t s1 asm("r4") = 0;
  register uint32_t s2 asm("r5") = 0;
  register uint32_t s3 asm("r6") = 0;
  uint32_t p, q, x, y;
  if (strided) {
    asm volatile(TR_LISTS_CODE(TR_LOAD_STRIDED)
                 : TR_LISTS_OUT
                 : [base] "r"(base), [second] "r"(lists.second), [unroll] "i"(lists_unroll),
                   [end] "i"(map.end)
                 : "cc", "memory");
  } else {
    asm volatile(TR_LISTS_CODE(TR_LOAD_PLAIN)
                 : TR_LISTS_OUT
                 : [base] "r"(base), [unroll] "i"(lists_unroll), [end] "i"(map.end)
                 : "cc", "memory");
  }
  return reinterpret_cast<uint32_t>(steps);
}

#undef TR_LOAD_PLAIN
#undef TR_LOAD_STRIDED
#undef TR_WIDEN
#undef TR_NEXT
#undef TR_MIXED
#undef TR_PLUS
#undef TR_MINUS
#undef TR_STORE
#undef TR_LISTS_CODE
#undef TR_LISTS_OUT

// Writes the steps of one class after the other.
struct StepWriter {
  StepWriter(uint32_t* steps, bool strided, uint32_t code)
      : next(steps), at(strided ? StepMap(true) : StepMap(false)), first(code | 1u) {}

  // Give the class's steps; returns what it complements too much.
  TR_INLINE uint32_t add(uint32_t plus, uint32_t minus) {
    const bool more_plus = plus >= minus;
    uint32_t mixed = more_plus ? minus : plus;
    uint32_t rest = more_plus ? plus - minus : minus - plus;
    for (; mixed > lists_unroll; mixed -= lists_unroll) *next++ = first;
    if (mixed != 0) *next++ = first + at.mixed_end - mixed * at.pair;
    const uint32_t complemented = more_plus ? 0 : 255 * ((rest + 1) / 2);
    const uint32_t end = more_plus ? at.plus_end : at.minus_end;
    const uint32_t pair = more_plus ? at.pair : at.minus_pair;
    for (; rest > 2 * lists_unroll + 1; rest -= 2 * lists_unroll) {
      *next++ = first + end - lists_unroll * pair;
    }
    if (rest > 1) *next++ = first + end - rest / 2 * pair;
    *next++ = first + (rest % 2 == 0 ? at.store : more_plus ? at.plus_one : at.minus_one);
    return complemented;
  }

  void end() { *next = first + at.end; }

  uint32_t* next;
  StepMap at;
  uint32_t first;
};

#else

// The bytes of `x` into the sums of one word: bytes 0 and 2 as halves to `even`, x >> 8 to `odd`.
// Both are plain sums modulo 2^32, so a carry out of a half is only borrowed from the next one.
TR_INLINE void lists_widen(uint32_t x, uint32_t& even, uint32_t& odd) {
  even += x & 0x00ff00ffu;
  odd += x >> 8;
}

// The same with the opposite sign: no complement is needed here.
TR_INLINE void lists_widen_minus(uint32_t x, uint32_t& even, uint32_t& odd) {
  even -= x & 0x00ff00ffu;
  odd -= x >> 8;
}

TR_INLINE uint32_t lists_load(const uint8_t* at) {
  return *static_cast<const uint32_t*>(__builtin_assume_aligned(at, 4));
}

template <bool strided>
TR_NOINLINE uint32_t lists_run(const Lists& lists, const uint8_t* base, ClassSums* sums) {
  if (sums == nullptr) return 0;
  const uint32_t* entries = lists.entries;
  const size_t second = strided ? lists.second : 4;
  uint32_t s0 = 0;
  uint32_t s1 = 0;
  uint32_t s2 = 0;
  uint32_t s3 = 0;
  for (const uint32_t* steps = lists.steps; *steps != ~0u; steps += 2, ++sums) {
    for (uint32_t mixed = steps[0]; mixed != 0; --mixed) {
      const uint32_t entry = *entries++;
      const uint8_t* plus = base + (entry & 0xffffu);
      const uint8_t* minus = base + (entry >> 16);
      // 128 + a - b, which fits a byte
      lists_widen((lists_load(plus) | 0x80808080u) - lists_load(minus), s0, s1);
      lists_widen((lists_load(plus + second) | 0x80808080u) - lists_load(minus + second), s2, s3);
    }
    uint32_t rest = steps[1];
    if ((rest & 1u) == 0) {
      for (rest >>= 1; rest > 1; rest -= 2, entries += 2) {
        const uint8_t* x = base + (entries[0] & 0xffffu);
        const uint8_t* y = base + (entries[1] & 0xffffu);
        lists_widen(lists_load(x) + lists_load(y), s0, s1);
        lists_widen(lists_load(x + second) + lists_load(y + second), s2, s3);
      }
      if (rest != 0) {
        const uint8_t* x = base + (*entries++ & 0xffffu);
        lists_widen(lists_load(x), s0, s1);
        lists_widen(lists_load(x + second), s2, s3);
      }
    } else {
      for (rest >>= 1; rest > 1; rest -= 2, entries += 2) {
        const uint8_t* x = base + (entries[0] >> 16);
        const uint8_t* y = base + (entries[1] >> 16);
        lists_widen_minus(lists_load(x) + lists_load(y), s0, s1);
        lists_widen_minus(lists_load(x + second) + lists_load(y + second), s2, s3);
      }
      if (rest != 0) {
        const uint8_t* x = base + (*entries++ >> 16);
        lists_widen_minus(lists_load(x), s0, s1);
        lists_widen_minus(lists_load(x + second), s2, s3);
      }
    }
    sums->s[0] = s0;
    sums->s[1] = s1;
    sums->s[2] = s2;
    sums->s[3] = s3;
  }
  return 0;
}

struct StepWriter {
  StepWriter(uint32_t* steps, bool, uint32_t) : next(steps) {}

  TR_INLINE uint32_t add(uint32_t plus, uint32_t minus) {
    const bool more_plus = plus >= minus;
    const uint32_t mixed = more_plus ? minus : plus;
    const uint32_t rest = more_plus ? plus - minus : minus - plus;
    next[0] = mixed;
    next[1] = rest << 1 | (more_plus ? 0u : 1u);
    next += 2;
    return 128 * mixed;
  }

  void end() { *next = ~0u; }

  uint32_t* next;
};

#endif

#if TR_DSP
// Add (sign 1) or subtract (-1) the two words `offset` bytes behind `sums`. One piece, or the
// compiler loads them one by one.
template <int sign, size_t offset>
TR_INLINE void spread_step(const ClassSums* sums, uint32_t* acc) {
  uint32_t x, y;
  const auto& all = *reinterpret_cast<const uint32_t(*)[(offset + 8) / 4]>(sums);
  if (sign > 0) {
    asm("ldrd   %[x], %[y], [%[sums], %[at]]\n"
        "sadd16 %[a], %[a], %[x]\n"
        "sadd16 %[b], %[b], %[y]\n"
        : [a] "+r"(acc[0]), [b] "+r"(acc[1]), [x] "=&r"(x), [y] "=&r"(y)
        : [sums] "r"(sums), [at] "i"(offset), "m"(all));
  } else {
    asm("ldrd   %[x], %[y], [%[sums], %[at]]\n"
        "ssub16 %[a], %[a], %[x]\n"
        "ssub16 %[b], %[b], %[y]\n"
        : [a] "+r"(acc[0]), [b] "+r"(acc[1]), [x] "=&r"(x), [y] "=&r"(y)
        : [sums] "r"(sums), [at] "i"(offset), "m"(all));
  }
}
#endif

// The outputs of a block from its class sums: S[k] to the one output that it meets.
template <size_t K, size_t k, size_t end>
struct Spread {
  template <size_t word>
  static TR_INLINE void add(const ClassSums* sums, uint32_t (*acc)[2]) {
    constexpr size_t j = gray_output(K, k);
#if TR_DSP
    spread_step<gray_step(K, j, k), sizeof(ClassSums) * k + 8 * word>(sums, acc[j]);
#else
    const uint32_t even = sums[k].s[2 * word];
    const uint32_t odd = sums[k].s[2 * word + 1];
    acc[j][0] = gray_step(K, j, k) > 0 ? acc[j][0] + even : acc[j][0] - even;
    acc[j][1] = gray_step(K, j, k) > 0 ? acc[j][1] + odd : acc[j][1] - odd;
#endif
    Spread<K, k + 1, end>::template add<word>(sums, acc);
  }
};

template <size_t K, size_t end>
struct Spread<K, end, end> {
  template <size_t word>
  static TR_INLINE void add(const ClassSums*, uint32_t (*)[2]) {}
};

#if !TR_DSP
// Halves (0, 2) and (1, 3) from the sums of lists_widen(), `excess` taken off every pixel.
TR_INLINE void lists_lanes(uint32_t* even, uint32_t* odd, uint32_t excess) {
  const uint32_t twice = excess * 0x00010001u;
  const uint32_t a = *even - twice;
  const uint32_t low = static_cast<uint32_t>(static_cast<int32_t>(static_cast<int16_t>(a)));
  const uint32_t high = static_cast<uint32_t>(static_cast<int32_t>(a - low) >> 16);
  const uint32_t b = *odd - 256 * (high + excess) - twice;
  const uint32_t next = static_cast<uint32_t>(static_cast<int32_t>(static_cast<int16_t>(b)));
  *even = (low & 0xffffu) | high << 16;
  *odd = (next & 0xffffu) | (b - next);
}
#endif

// Spread word `word` of the sums over the K outputs, `excess[j]` taken off every pixel of output j
// (with DSP instructions in both halves).
template <size_t K, size_t word>
TR_INLINE void lists_spread(const ClassSums* sums, const uint32_t* excess, uint32_t (*acc)[2]) {
  for (size_t j = 0; j < K; ++j) {
#if TR_DSP
    acc[j][0] = ssub16(0, excess[j]);
    acc[j][1] = acc[j][0];
#else
    acc[j][0] = acc[j][1] = 0;
#endif
  }
  Spread<K, 0, ClassCodes<K>::classes>::template add<word>(sums, acc);
#if !TR_DSP
  for (size_t j = 0; j < K; ++j) lists_lanes(&acc[j][0], &acc[j][1], excess[j]);
#endif
}

}  // namespace tr

#endif
