// conv2d_tg_u8: the part of a unit that takes the sums. See generate.hpp.
#include "kernels/conv2d_tg_u8/generate.hpp"
#include "kernels/conv2d_tg_u8/instructions.hpp"
#include "runtime/dsp.hpp"

#if TR_DSP

namespace tr::tg {
namespace {

// Where the words of Frame lie on the stack (tr_tg_run): after two pairs of sums.
enum Slot : uint32_t {
  kSum0 = 0,
  kConstants = 16,
  kOut = 20,
  kRowEnd = 24,
  kCode = 28,
  kInNext = 32,
  kRows = 40,
  kOther = 48,
  kPartial = 52,
  kFrameBytes = 60,
};

struct Writer {
  uint32_t* at;
  void operator()(uint32_t word) { *at++ = word; }
};

// Four outputs of channel i from its sums in lo, hi; r3 to r6 and r12 are free.
void requantise(Writer& write, const Finish& f, uint32_t i, uint32_t lo, uint32_t hi) {
  const uint32_t last = f.kind == Finish::plain ? r3 : r4;  // r3 is needed once more with operands
  write(ldrd(r3, r4, r11, 8 * i));
  write(smlawb(r5, r3, lo, r4));
  write(smlawt(r6, r3, lo, r4));
  write(smlawb(r12, r3, hi, r4));
  write(smlawt(last, r3, hi, r4));
  if (f.kind == Finish::add8) {
    if (f.in_place) {
      write(ldr(hi, lr, i * f.stretch));
    } else {
      write(ldr(r3, sp, kOther));
      write(add(r3, r3, lr));
      write(ldr(hi, r3, i * f.stretch));
    }
    write(ldr(r3, r11, 32 + 4 * i));
    write(uxtb16(lo, hi, 0));
    write(uxtb16(hi, hi, 8));
  } else if (f.kind == Finish::add16) {
    write(ldr(r3, sp, kOther));
    write(ldrd(lo, hi, r3, 8 * i));
    write(ldr(r3, r11, 32 + 4 * i));
  }
  if (f.kind != Finish::plain) {
    write(smlawb(r5, r3, lo, r5));
    write(smlawt(r6, r3, lo, r6));
    write(smlawb(r12, r3, hi, r12));
    write(smlawt(last, r3, hi, last));
  }
  if (f.shift == 16) {
    write(pkhtb_asr16(r5, r6, r5));
    write(pkhtb_asr16(r3, last, r12));
    write(usat16(r5, f.bits, r5));
    write(usat16(r3, f.bits, r3));
  } else {
    write(usat_asr(r5, f.bits, r5, f.shift));
    write(usat_asr(r6, f.bits, r6, f.shift));
    write(usat_asr(r12, f.bits, r12, f.shift));
    write(usat_asr(r3, f.bits, last, f.shift));
    write(orr_lsl(r5, r5, r6, 16));
    write(orr_lsl(r3, r12, r3, 16));
  }
  write(orr_lsl(r5, r5, r3, 8));
  write(str(r5, lr, i * f.stretch));
}

void quantise(Writer& write, const Finish& f) {
  write(ldrd(r11, lr, sp, kConstants));
  if (f.channels > 1) requantise(write, f, 1, r1, r2);
  if (f.channels > 2) requantise(write, f, 2, r7, r8);
  if (f.channels > 3) requantise(write, f, 3, r9, r10);
  write(ldrd(r1, r2, sp, kSum0));
  requantise(write, f, 0, r1, r2);
  if (f.kind == Finish::add16) {
    write(ldr(r3, sp, kOther));
    write(add_small(r3, r3, 32));
    write(str(r3, sp, kOther));
  }
}

// A part's sums lie in the order that one STM writes; channel 0 is in r5:r6 by then.
void store_part(Writer& write) {
  write(ldr(lr, sp, kPartial));
  write(ldrd(r5, r6, sp, kSum0));
  write(stm_up(
      lr, 1u << r1 | 1u << r2 | 1u << r5 | 1u << r6 | 1u << r7 | 1u << r8 | 1u << r9 | 1u << r10));
  write(str(lr, sp, kPartial));
  write(ldr(lr, sp, kOut));
}

void store_raw(Writer& write) {
  write(ldrd(r3, r4, sp, kSum0));
  write(ldr(lr, sp, kOther));
  write(strd(r3, r4, lr, 0));
  write(strd(r1, r2, lr, 8));
  write(strd(r7, r8, lr, 16));
  write(strd(r9, r10, lr, 24));
  write(add_small(lr, lr, 32));
  write(str(lr, sp, kOther));
  write(ldr(lr, sp, kOut));
}

}  // namespace

uint32_t* emit_finish(uint32_t* at, const Finish& f) {
  Writer write{at};
  if (f.kind == Finish::part) {
    store_part(write);
  } else if (f.kind == Finish::raw) {
    store_raw(write);
  } else {
    quantise(write, f);
  }
  // The next word of the row; its sums begin behind the finish, or where the frame says.
  static_assert(kCode == kRowEnd + 4, "one LDRD loads both");
  write(f.shared ? ldrd(r3, r4, sp, kRowEnd) : ldr(r3, sp, kRowEnd));
  write(add_small(lr, lr, 4));
  write(add_small(r0, r0, f.step));
  write(str(lr, sp, kOut));
  write(cmp(lr, r3));
  write(f.shared ? bx_ne(r4) : branch_ne(4 * 12));
  // The next row.
  write(ldrd(r3, r5, sp, kInNext));
  write(add(r0, r0, r3));
  write(add(lr, lr, r5));
  write(ldrd(r6, r3, sp, kRows));
  write(add(r3, r3, lr));
  write(strd(lr, r3, sp, kOut));
  write(subs_one(r6, r6));
  write(str(r6, sp, kRows));
  write(f.shared ? bx_ne(r4) : branch_ne(4 * 3));
  write(add_small(sp, sp, kFrameBytes));
  write(pop_all());
  return write.at;
}

}  // namespace tr::tg

#endif
