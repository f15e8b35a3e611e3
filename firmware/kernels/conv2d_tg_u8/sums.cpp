// conv2d_tg_u8: the sums of a unit, class by class. See generate.hpp.
//
// The tree: a code's trits are (w0, w1, w2, w3). For a prefix of three trits that is not zero, the
// classes that continue it with 0, +1 and -1 are added to the prefix's sum, and the difference of
// the last two to channel 3. The same again for prefixes of two trits and channel 2, and of one
// trit and channel 1, which leaves channel 0.
#include "kernels/conv2d_tg_u8/generate.hpp"
#include "kernels/conv2d_tg_u8/geometry.hpp"
#include "kernels/conv2d_tg_u8/instructions.hpp"
#include "runtime/dsp.hpp"

#if TR_DSP

namespace tr::tg {
namespace {

constexpr uint32_t kLevel1 = r1, kLevel2 = r3, kLevel3 = r5;  // sums of prefixes; also channel 1
constexpr uint32_t kChannel2 = r7, kChannel3 = r9, kInput = r11;
constexpr uint32_t kSum0 = 0, kSum1 = 8, kPartial = 52;  // on the stack

// Widening additions into the pair d for tr_tg_leaf: of differences (signed) and of sums, into a
// new pair (n = pc), from r11 and from r12; then how two inputs are put together.
#define TR_TG_WIDEN(d)                                                                       \
  {                                                                                          \
    sxtab16(d, pc, r11, 0), sxtab16(d + 1, pc, r11, 8), sxtab16(d, d, r11, 0),               \
        sxtab16(d + 1, d + 1, r11, 8), sxtab16(d, d, r12, 0), sxtab16(d + 1, d + 1, r12, 8), \
        uxtab16(d, pc, r11, 0), uxtab16(d + 1, pc, r11, 8), uxtab16(d, d, r11, 0),           \
        uxtab16(d + 1, d + 1, r11, 8), uxtab16(d, d, r12, 0), uxtab16(d + 1, d + 1, r12, 8), \
        usub8(r11, r11, lr), usub8(r12, r12, lr), uadd8(r11, r11, lr), uadd8(r12, r12, lr)   \
  }
constexpr uint32_t kWiden[3][16] = {TR_TG_WIDEN(kLevel1), TR_TG_WIDEN(kLevel2),
                                    TR_TG_WIDEN(kLevel3)};
#undef TR_TG_WIDEN

struct Emitter {
  uint32_t* at;
  const uint32_t* heads;
  int32_t sum0, sum1, channel2, channel3;  // signs, 0 while empty
};

// The sum of a class into the pair d; its sign.
TR_INLINE int32_t leaf(Emitter& e, uint32_t code, uint32_t d) {
  const uint64_t found = tr_tg_leaf(e.at, code, kWiden[d / 2], e.heads);
  e.at = reinterpret_cast<uint32_t*>(static_cast<uintptr_t>(static_cast<uint32_t>(found)));
  return static_cast<int32_t>(found >> 32);
}

// d += s, signs `to` (0: d is empty) and `from`; the sign of d then.
TR_INLINE int32_t accumulate(Emitter& e, uint32_t d, int32_t to, uint32_t s, int32_t from) {
  uint32_t* at = e.at;
  e.at = at + 2;
  if (to == 0) {
    at[0] = mov(d, s);
    at[1] = mov(d + 1, s + 1);
    return from;
  }
  const uint32_t subtract = to == from ? 0 : ssub16(0, 0, 0) - sadd16(0, 0, 0);
  at[0] = sadd16(d, d, s) + subtract;
  at[1] = sadd16(d + 1, d + 1, s + 1) + subtract;
  return to;
}

// The same into two words on the stack, from level 1.
TR_NOINLINE int32_t accumulate_stack(Emitter& e, uint32_t slot, int32_t to, int32_t from) {
  uint32_t* at = e.at;
  if (to == 0) {
    at[0] = strd(kLevel1, kLevel1 + 1, sp, slot);
    e.at = at + 1;
    return from;
  }
  e.at = at + 4;
  const uint32_t subtract = to == from ? 0 : ssub16(0, 0, 0) - sadd16(0, 0, 0);
  at[0] = ldrd(kInput, kInput + 1, sp, slot);
  at[1] = sadd16(kInput, kInput, kLevel1) + subtract;
  at[2] = sadd16(kInput + 1, kInput + 1, kLevel1 + 1) + subtract;
  at[3] = strd(kInput, kInput + 1, sp, slot);
  return to;
}

// The sum of a prefix of three trits (`code`: followed by 0) into the pair d, and channel 3's part.
TR_NOINLINE int32_t prefix3(Emitter& e, uint32_t code, uint32_t d) {
  int32_t sign = leaf(e, code, d);
  int32_t found = leaf(e, code + 1, kLevel3);
  if (found != 0) {
    sign = accumulate(e, d, sign, kLevel3, found);
    e.channel3 = accumulate(e, kChannel3, e.channel3, kLevel3, found);
  }
  found = leaf(e, code - 1, kLevel3);
  if (found != 0) {
    sign = accumulate(e, d, sign, kLevel3, found);
    e.channel3 = accumulate(e, kChannel3, e.channel3, kLevel3, -found);
  }
  return sign;
}

// The same for two trits (`code`: followed by 0, 0), into level 1.
TR_NOINLINE int32_t prefix2(Emitter& e, uint32_t code) {
  int32_t sign = prefix3(e, code, kLevel1);
  int32_t found = prefix3(e, code + 3, kLevel2);
  if (found != 0) {
    sign = accumulate(e, kLevel1, sign, kLevel2, found);
    e.channel2 = accumulate(e, kChannel2, e.channel2, kLevel2, found);
  }
  found = prefix3(e, code - 3, kLevel2);
  if (found != 0) {
    sign = accumulate(e, kLevel1, sign, kLevel2, found);
    e.channel2 = accumulate(e, kChannel2, e.channel2, kLevel2, -found);
  }
  return sign;
}

// Every class; channel 1 then is in level 1 (the sign returned), channel 0 on the stack.
int32_t classes(Emitter& e) {
  int32_t found = prefix2(e, kTgZero + 27);
  if (found != 0) e.sum0 = accumulate_stack(e, kSum0, 0, found);
  found = prefix2(e, kTgZero + 27 + 9);
  if (found != 0) {
    e.sum0 = accumulate_stack(e, kSum0, e.sum0, found);
    e.sum1 = accumulate_stack(e, kSum1, 0, found);
  }
  found = prefix2(e, kTgZero + 27 - 9);
  if (found != 0) {
    e.sum0 = accumulate_stack(e, kSum0, e.sum0, found);
    e.sum1 = accumulate_stack(e, kSum1, e.sum1, -found);
  }
  int32_t sign1 = prefix2(e, kTgZero + 9);
  if (e.sum1 != 0 && sign1 == 0) {
    *e.at++ = ldrd(kLevel1, kLevel1 + 1, sp, kSum1);
    sign1 = e.sum1;
  } else if (e.sum1 != 0) {
    *e.at++ = ldrd(kInput, kInput + 1, sp, kSum1);
    sign1 = accumulate(e, kLevel1, sign1, kInput, e.sum1);
  }
  found = prefix3(e, kTgZero + 3, kLevel2);
  if (found != 0) e.channel2 = accumulate(e, kChannel2, e.channel2, kLevel2, found);
  found = leaf(e, kTgZero + 1, kLevel3);
  if (found != 0) e.channel3 = accumulate(e, kChannel3, e.channel3, kLevel3, found);
  return sign1;
}

void zero(Emitter& e, uint32_t d) {
  *e.at++ = mov_zero(d);
  *e.at++ = mov_zero(d + 1);
}

// A register pair d, sign `to`, plus the sums that the parts before left at `offset` from lr.
void join(Emitter& e, uint32_t d, uint32_t offset, int32_t to, int32_t from) {
  *e.at++ = ldrd(r11, r12, lr, offset);
  accumulate(e, d, to, r11, from);
}

// The sums that the parts before left: channels 1, 0, 2, 3, as emit_finish stores them.
void join_parts(Emitter& e, const Finish& finish, const Signs& mine, const Signs& before) {
  *e.at++ = ldr(lr, sp, kPartial);
  join(e, kLevel1, 0, mine.of[1], before.of[1]);
  join(e, kChannel2, 16, mine.of[2], before.of[2]);
  join(e, kChannel3, 24, mine.of[3], before.of[3]);
  *e.at++ = ldrd(kLevel3, kLevel3 + 1, sp, kSum0);
  join(e, kLevel3, 8, mine.of[0], before.of[0]);
  *e.at++ = strd(kLevel3, kLevel3 + 1, sp, kSum0);
  if (finish.kind != Finish::part) {
    *e.at++ = add_small(lr, lr, 32);
    *e.at++ = str(lr, sp, kPartial);
  }
}

void negate(Emitter& e, uint32_t d) {
  *e.at++ = ssub16(d, r11, d);
  *e.at++ = ssub16(d + 1, r11, d + 1);
}

// A tensor of accumulators has their own signs.
void make_positive(Emitter& e, Signs& signs) {
  *e.at++ = mov_zero(r11);
  if (signs.of[1] < 0) negate(e, kLevel1);
  if (signs.of[2] < 0) negate(e, kChannel2);
  if (signs.of[3] < 0) negate(e, kChannel3);
  if (signs.of[0] < 0) {
    *e.at++ = ldrd(kLevel3, kLevel3 + 1, sp, kSum0);
    negate(e, kLevel3);
    *e.at++ = strd(kLevel3, kLevel3 + 1, sp, kSum0);
  }
  signs = {{1, 1, 1, 1}};
}

}  // namespace

void prepare_nodes(Node* nodes, uint32_t inputs, uint32_t columns, uint32_t stretch_bytes) {
  uint32_t row = ldr(r11, r0, 0);
  const uint32_t next_row = stretch_bytes << 16;
  for (Node* const end = nodes + inputs; nodes < end; row += next_row) {
    uint32_t load = row;
    for (uint32_t i = 0; i < columns; ++i, ++nodes, load += 4u << 16) nodes->load = load;
  }
}

uint32_t* emit_sums(uint32_t* at, const uint32_t* finish_at, const Finish& finish,
                    const uint8_t* codes, uint32_t count, Node* nodes, uint32_t* heads,
                    const Signs* before, Signs* signs) {
  tr_tg_sort(codes, count, heads, nodes);
  Emitter e{at, heads, 0, 0, 0, 0};
  int32_t sign1 = classes(e);
  if (e.sum0 == 0) {
    *e.at++ = mov_zero(r11);
    *e.at++ = strd(r11, r11, sp, kSum0);
    e.sum0 = 1;
  }
  if (sign1 == 0) {
    zero(e, kLevel1);
    sign1 = 1;
  }
  if (e.channel2 == 0) {
    zero(e, kChannel2);
    e.channel2 = 1;
  }
  if (e.channel3 == 0) {
    zero(e, kChannel3);
    e.channel3 = 1;
  }
  *signs = {{static_cast<int8_t>(e.sum0), static_cast<int8_t>(sign1),
             static_cast<int8_t>(e.channel2), static_cast<int8_t>(e.channel3)}};
  if (before != nullptr) join_parts(e, finish, *signs, *before);
  if (finish.kind == Finish::raw) make_positive(e, *signs);
  const auto here = static_cast<int32_t>(reinterpret_cast<intptr_t>(e.at));
  *e.at++ = branch(static_cast<int32_t>(reinterpret_cast<intptr_t>(finish_at)) - here);
  return e.at;
}

}  // namespace tr::tg

#endif
