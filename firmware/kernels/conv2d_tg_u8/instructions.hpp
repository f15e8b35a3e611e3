// conv2d_tg_u8: the Thumb-2 instructions it writes, as words (first halfword low). Encodings:
// DDI0403 A7.7, under the names given.
#ifndef TR_KERNELS_CONV2D_TG_U8_INSTRUCTIONS_HPP
#define TR_KERNELS_CONV2D_TG_U8_INSTRUCTIONS_HPP

#include <stdint.h>

namespace tr::tg {

enum Register : uint32_t {
  r0,
  r1,
  r2,
  r3,
  r4,
  r5,
  r6,
  r7,
  r8,
  r9,
  r10,
  r11,
  r12,
  sp,
  lr,
  pc,
};

constexpr uint32_t wide(uint32_t first, uint32_t second) { return first | second << 16; }

constexpr uint32_t three(uint32_t first, uint32_t second, uint32_t d, uint32_t n, uint32_t m) {
  return wide(first | n, second | d << 8 | m);
}
constexpr uint32_t uadd8(uint32_t d, uint32_t n, uint32_t m) {
  return three(0xFA80, 0xF040, d, n, m);
}
constexpr uint32_t usub8(uint32_t d, uint32_t n, uint32_t m) {
  return three(0xFAC0, 0xF040, d, n, m);
}
constexpr uint32_t sadd16(uint32_t d, uint32_t n, uint32_t m) {
  return three(0xFA90, 0xF000, d, n, m);
}
constexpr uint32_t ssub16(uint32_t d, uint32_t n, uint32_t m) {
  return three(0xFAD0, 0xF000, d, n, m);
}
// UXTAB16, SXTAB16 with a rotation of 0 or 8; n = pc: UXTB16, SXTB16.
constexpr uint32_t uxtab16(uint32_t d, uint32_t n, uint32_t m, uint32_t rotation) {
  return three(0xFA30, 0xF080 | rotation << 1, d, n, m);
}
constexpr uint32_t sxtab16(uint32_t d, uint32_t n, uint32_t m, uint32_t rotation) {
  return three(0xFA20, 0xF080 | rotation << 1, d, n, m);
}
constexpr uint32_t mov(uint32_t d, uint32_t m) { return wide(0xEA4F, d << 8 | m); }
constexpr uint32_t mov_zero(uint32_t d) { return wide(0xF04F, d << 8); }
constexpr uint32_t ldr(uint32_t t, uint32_t n, uint32_t offset) {
  return wide(0xF8D0 | n, t << 12 | offset);
}
constexpr uint32_t str(uint32_t t, uint32_t n, uint32_t offset) {
  return wide(0xF8C0 | n, t << 12 | offset);
}
constexpr uint32_t ldrd(uint32_t t, uint32_t u, uint32_t n, uint32_t offset) {
  return wide(0xE9D0 | n, t << 12 | u << 8 | offset >> 2);
}
constexpr uint32_t strd(uint32_t t, uint32_t u, uint32_t n, uint32_t offset) {
  return wide(0xE9C0 | n, t << 12 | u << 8 | offset >> 2);
}
constexpr uint32_t stm_up(uint32_t n, uint32_t list) { return wide(0xE8A0 | n, list); }
constexpr uint32_t add(uint32_t d, uint32_t n, uint32_t m) { return wide(0xEB00 | n, d << 8 | m); }
// ADD (immediate, T4) of 0..4095.
constexpr uint32_t add_small(uint32_t d, uint32_t n, uint32_t value) {
  return wide(0xF200 | (value >> 11 & 1) << 10 | n,
              (value >> 8 & 7) << 12 | d << 8 | (value & 255));
}
constexpr uint32_t subs_one(uint32_t d, uint32_t n) { return wide(0xF1B0 | n, d << 8 | 1); }
constexpr uint32_t cmp(uint32_t n, uint32_t m) { return wide(0xEBB0 | n, 0x0F00 | m); }
constexpr uint32_t orr_lsl(uint32_t d, uint32_t n, uint32_t m, uint32_t shift) {
  return wide(0xEA40 | n, (shift >> 2) << 12 | d << 8 | (shift & 3) << 6 | m);
}
constexpr uint32_t pkhtb_asr16(uint32_t d, uint32_t n, uint32_t m) {
  return three(0xEAC0, 0x4020, d, n, m);
}
constexpr uint32_t usat16(uint32_t d, uint32_t bits, uint32_t n) {
  return wide(0xF3A0 | n, d << 8 | bits);
}
// USAT of a value shifted right arithmetically by 0..31.
constexpr uint32_t usat_asr(uint32_t d, uint32_t bits, uint32_t n, uint32_t shift) {
  return wide((shift != 0 ? 0xF3A0u : 0xF380u) | n,
              (shift >> 2) << 12 | d << 8 | (shift & 3) << 6 | bits);
}
constexpr uint32_t smlawb(uint32_t d, uint32_t n, uint32_t m, uint32_t a) {
  return wide(0xFB30 | n, a << 12 | d << 8 | m);
}
constexpr uint32_t smlawt(uint32_t d, uint32_t n, uint32_t m, uint32_t a) {
  return wide(0xFB30 | n, a << 12 | d << 8 | 0x10 | m);
}
// UXTB16 with a rotation of 0 or 8.
constexpr uint32_t uxtb16(uint32_t d, uint32_t m, uint32_t rotation) {
  return wide(0xFA3F, 0xF080 | d << 8 | rotation << 1 | m);
}
// POP {r4-r11, pc}.
constexpr uint32_t pop_all() { return wide(0xE8BD, 0x8FF0); }

// B (T4) and BNE (T3) to `distance` bytes from the instruction's own address.
inline uint32_t branch(int32_t distance) {
  const uint32_t offset = static_cast<uint32_t>(distance - 4);
  const uint32_t s = offset >> 24 & 1, i1 = offset >> 23 & 1, i2 = offset >> 22 & 1;
  return wide(0xF000 | s << 10 | (offset >> 12 & 0x3FF),
              0x9000 | (i1 ^ s ^ 1) << 13 | (i2 ^ s ^ 1) << 11 | (offset >> 1 & 0x7FF));
}
inline uint32_t branch_ne(int32_t distance) {
  const uint32_t offset = static_cast<uint32_t>(distance - 4);
  const uint32_t s = offset >> 20 & 1, j2 = offset >> 19 & 1, j1 = offset >> 18 & 1;
  return wide(0xF040 | s << 10 | (offset >> 12 & 0x3F),
              0x8000 | j1 << 13 | j2 << 11 | (offset >> 1 & 0x7FF));
}
// IT NE and BX: two narrow instructions.
constexpr uint32_t bx_ne(uint32_t m) { return wide(0xBF18, 0x4700 | m << 3); }

}  // namespace tr::tg

#endif
