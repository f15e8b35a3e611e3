// What becomes of the sums of one row of one channel, two words of halfwords (0, 2), (1, 3) for
// every four pixels, `apart` words from one to the next: requantised, a second branch added, and
// written as planar words or in HWC.
#ifndef TR_RUNTIME_CLASS_FINISH_HPP
#define TR_RUNTIME_CLASS_FINISH_HPP

#include "runtime/fixed.hpp"
#include "runtime/planar.hpp"

namespace tr {

// How a layer's outputs are made: without an operand, with a u8 one, with an i16 one.
enum class ClassKind : uint8_t { plain, add8, add16 };

// How exactly: `seven` shifts by 16 to 7 bits, `sixteen` by 16 to any bits, `any` by any shift.
enum class ClassScale : uint8_t { seven, sixteen, any };

// What a row's loop needs in registers.
struct ClassChannel {
  int32_t m, start, m2;  // start: bias and the half of the rounding
  uint32_t shift;
  uint32_t hi;  // in every byte
};

#if TR_DSP

TR_INLINE int32_t smlawt(int32_t m, uint32_t acc, int32_t t) {
  return __smlawt(m, static_cast<int32_t>(acc), t);
}

// Halfwords a >> 16 (low) and b >> 16.
TR_INLINE uint32_t high_halves(int32_t a, int32_t b) {
  uint32_t pair;
  asm("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(b), "r"(a));
  return pair;
}

template <int Bits>
TR_INLINE uint32_t usat_halves(uint32_t pair) {
  return static_cast<uint32_t>(__usat16(static_cast<int16x2_t>(pair), Bits));
}

// Four outputs as bytes; operands as halfwords like the sums.
template <ClassKind kind, ClassScale how>
TR_INLINE uint32_t class_word(const ClassChannel& c, uint32_t even, uint32_t odd, uint32_t even2,
                              uint32_t odd2) {
  int32_t t0 = smlawb(c.m, static_cast<int32_t>(even), c.start);
  int32_t t2 = smlawt(c.m, even, c.start);
  int32_t t1 = smlawb(c.m, static_cast<int32_t>(odd), c.start);
  int32_t t3 = smlawt(c.m, odd, c.start);
  if (kind != ClassKind::plain) {
    t0 = smlawb(c.m2, static_cast<int32_t>(even2), t0);
    t2 = smlawt(c.m2, even2, t2);
    t1 = smlawb(c.m2, static_cast<int32_t>(odd2), t1);
    t3 = smlawt(c.m2, odd2, t3);
  }
  if (how == ClassScale::seven) {
    return usat_halves<7>(high_halves(t0, t2)) | usat_halves<7>(high_halves(t1, t3)) << 8;
  }
  uint32_t word;
  if (how == ClassScale::sixteen) {
    word = usat_halves<8>(high_halves(t0, t2)) | usat_halves<8>(high_halves(t1, t3)) << 8;
  } else {
    word = usat<8>(t0 >> c.shift) | usat<8>(t1 >> c.shift) << 8 | usat<8>(t2 >> c.shift) << 16 |
           usat<8>(t3 >> c.shift) << 24;
  }
  return __usub8(word, __uqsub8(word, c.hi));  // at most hi
}

#else

// (m * acc) >> 16 for acc of 16 bits, without a product of 64 bits.
TR_INLINE int32_t scale_halfword(int32_t m, int32_t acc) {
  return (m >> 16) * acc + (((m & 0xffff) * acc) >> 16);
}

template <ClassKind kind, ClassScale how>
TR_INLINE uint32_t class_word(const ClassChannel& c, uint32_t even, uint32_t odd, uint32_t even2,
                              uint32_t odd2) {
  uint32_t word = 0;
  for (uint32_t l = 0; l < 4; ++l) {
    const uint32_t half = 16 * (l >> 1);
    const uint32_t sum = (l & 1u) != 0 ? odd : even;
    int32_t t = c.start + scale_halfword(c.m, static_cast<int16_t>(sum >> half));
    if (kind != ClassKind::plain) {
      const uint32_t other = (l & 1u) != 0 ? odd2 : even2;
      t += scale_halfword(c.m2, static_cast<int16_t>(other >> half));
    }
    const int32_t hi = static_cast<int32_t>(c.hi & 0xffu);
    int32_t q = t >> c.shift;
    if (q > hi) q = hi;  // conditional moves: the time does not depend on the data
    if (q < 0) q = 0;
    word |= static_cast<uint32_t>(q) << (8 * l);
  }
  return word;
}

#endif

// Pixels x .. of one row of channel `c`, in HWC order, whose sums are at `row`: output by output.
inline TR_NOINLINE void class_each(const Conv2D& layer, size_t y, size_t c, size_t x,
                                   const uint32_t* row, size_t apart, const Buffers& at) {
  const size_t lane = planar_lane_words(layer.out_w);
  const size_t channels = layer.requantize.channels;
  const size_t width = layer.out_w;
  size_t index = (y * width + x) * channels + c;
  for (row += apart * x; x < lane; ++x, row += apart, index += channels) {
    const int32_t acc[4] = {static_cast<int16_t>(row[0]), static_cast<int16_t>(row[1]),
                            static_cast<int16_t>(row[0] >> 16), static_cast<int16_t>(row[1] >> 16)};
    const size_t n = 3 * lane + x < width ? 4 : 2 * lane + x < width ? 3 : lane + x < width ? 2 : 1;
    finish(layer.requantize, c, index, lane * channels, acc, n, at);
  }
}

inline void class_other(const Conv2D& layer, size_t y, size_t c, const uint32_t* row, size_t apart,
                        const Buffers& at) {
  class_each(layer, y, c, 0, row, apart, at);
}

TR_INLINE ClassChannel class_channel(const Requantize& r, size_t c, bool two) {
  const uint32_t half = (1u << r.shift) >> 1;
  return {r.multiplier[c], static_cast<int32_t>(static_cast<uint32_t>(r.bias[c]) + half),
          two ? r.multiplier2[c] : 0, r.shift, r.hi * 0x01010101u};
}

// Word of row y of channel c of an i16 planar tensor, two words for every four pixels.
TR_INLINE size_t class_halves(const Conv2D& layer, size_t y, size_t c) {
  return ((c / 4 * layer.out_h + y) * planar_lane_words(layer.out_w) * 4 + c % 4) * 2;
}

template <ClassKind kind, ClassScale how>
TR_NOINLINE void class_planar(const Conv2D& layer, size_t y, size_t c, const uint32_t* row,
                              size_t apart, const Buffers& at) {
  const ClassChannel channel = class_channel(layer.requantize, c, kind != ClassKind::plain);
  const size_t first = planar_word(layer.out_w, layer.requantize.channels, y + 1, c, 1);
  const uint32_t* bytes = reinterpret_cast<const uint32_t*>(at.operand) + first;
  const uint32_t* halves =
      reinterpret_cast<const uint32_t*>(at.operand) + class_halves(layer, y, c);
  uint32_t* out = reinterpret_cast<uint32_t*>(at.out) + first;
  const uint32_t* end = out + planar_lane_words(layer.out_w);
  do {
    uint32_t even = 0;
    uint32_t odd = 0;
    if (kind == ClassKind::add8) {
      even = uxtb16(*bytes);
      odd = uxtb16_ror8(*bytes++);
    } else if (kind == ClassKind::add16) {
      even = halves[0];
      odd = halves[1];
      halves += 8;
    }
    *out++ = class_word<kind, how>(channel, row[0], row[1], even, odd);
    row += apart;
  } while (out != end);
}

template <ClassKind kind, ClassScale how>
TR_NOINLINE void class_hwc(const Conv2D& layer, size_t y, size_t c, const uint32_t* row,
                           size_t apart, const Buffers& at) {
  const size_t lane = planar_lane_words(layer.out_w);
  const size_t whole = layer.out_w - 3 * lane;  // words of which all four pixels exist
  const size_t channels = layer.requantize.channels;
  const ClassChannel channel = class_channel(layer.requantize, c, kind != ClassKind::plain);
  const size_t step = lane * channels;
  const size_t first = y * layer.out_w * channels + c;
  const uint8_t* bytes = at.operand + first;
  const uint16_t* halves = reinterpret_cast<const uint16_t*>(at.operand) + first;
  uint8_t* out = at.out + first;
  const uint32_t* from = row;
  for (size_t x = whole; x != 0; --x, from += apart, out += channels) {
    uint32_t even = 0;
    uint32_t odd = 0;
    if (kind == ClassKind::add8) {
      even = bytes[0] | static_cast<uint32_t>(bytes[2 * step]) << 16;
      odd = bytes[step] | static_cast<uint32_t>(bytes[3 * step]) << 16;
      bytes += channels;
    } else if (kind == ClassKind::add16) {
      even = halves[0] | static_cast<uint32_t>(halves[2 * step]) << 16;
      odd = halves[step] | static_cast<uint32_t>(halves[3 * step]) << 16;
      halves += channels;
    }
    const uint32_t word = class_word<kind, how>(channel, from[0], from[1], even, odd);
    out[0] = static_cast<uint8_t>(word);
    out[step] = static_cast<uint8_t>(word >> 8);
    out[2 * step] = static_cast<uint8_t>(word >> 16);
    out[3 * step] = static_cast<uint8_t>(word >> 24);
  }
  if (whole != lane) class_each(layer, y, c, whole, row, apart, at);
}

// int16 sums as they are.
inline void class_raw_planar(const Conv2D& layer, size_t y, size_t c, const uint32_t* row,
                             size_t apart, const Buffers& at) {
  uint32_t* out = reinterpret_cast<uint32_t*>(at.out) + class_halves(layer, y, c);
  for (size_t x = planar_lane_words(layer.out_w); x != 0; --x, row += apart, out += 8) {
    out[0] = row[0];
    out[1] = row[1];
  }
}

inline void class_raw_hwc(const Conv2D& layer, size_t y, size_t c, const uint32_t* row,
                          size_t apart, const Buffers& at) {
  const size_t lane = planar_lane_words(layer.out_w);
  const size_t whole = layer.out_w - 3 * lane;
  const size_t channels = layer.requantize.channels;
  const size_t step = lane * channels;
  uint16_t* out = reinterpret_cast<uint16_t*>(at.out) + y * layer.out_w * channels + c;
  const uint32_t* from = row;
  for (size_t x = whole; x != 0; --x, from += apart, out += channels) {
    out[0] = static_cast<uint16_t>(from[0]);
    out[step] = static_cast<uint16_t>(from[1]);
    out[2 * step] = static_cast<uint16_t>(from[0] >> 16);
    out[3 * step] = static_cast<uint16_t>(from[1] >> 16);
  }
  if (whole != lane) class_each(layer, y, c, whole, row, apart, at);
}

// The decisions of a layer, made once.
template <bool planar>
class ClassFinish {
 public:
  ClassFinish(const Conv2D& conv, size_t words_apart)
      : layer(conv), apart(words_apart), run(choose(conv)) {}

  // Row `y` of channel `c`, whose sums are at `row`.
  TR_INLINE void operator()(size_t y, size_t c, const uint32_t* row, const Buffers& at) const {
    run(layer, y, c, row, apart, at);
  }

 private:
  using Run = void (*)(const Conv2D&, size_t, size_t, const uint32_t*, size_t, const Buffers&);

  static Run choose(const Conv2D& layer) {
    const Requantize& r = layer.requantize;
    if (!planar) {
      const bool narrow = layer.out_w < 3 * planar_lane_words(layer.out_w);
      const bool quick = r.finish == Finish::raw
                             ? r.out == Type::i16
                             : r.finish == Finish::quantise && r.lo == 0 &&
                                   (r.multiplier2 == nullptr || r.operand != Type::i32);
      if (narrow || !quick) return class_other;
    }
    if (r.finish == Finish::raw) return planar ? class_raw_planar : class_raw_hwc;
    if (r.multiplier2 == nullptr) return scaled<ClassKind::plain>(r);
    return r.operand == Type::u8 ? scaled<ClassKind::add8>(r) : scaled<ClassKind::add16>(r);
  }

  template <ClassKind kind>
  static Run scaled(const Requantize& r) {
    if (r.shift != 16) return quantise<kind, ClassScale::any>();
    if (r.hi != 127) return quantise<kind, ClassScale::sixteen>();
    return quantise<kind, ClassScale::seven>();
  }

  template <ClassKind kind, ClassScale how>
  static Run quantise() {
    return planar ? class_planar<kind, how> : class_hwc<kind, how>;
  }

  const Conv2D& layer;
  size_t apart;
  Run run;
};

}  // namespace tr

#endif
