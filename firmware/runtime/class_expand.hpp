// A u8 tensor in HWC order as words of four pixels for one convolution of any stride and padding.
//
// Lanes are as far apart as the output's lanes need it: byte l of word i of a row is the pixel
// stride_x * lane * l + i - pad_left, or zero outside the image. Rows start at -pad_top; a row is
// channel after channel, (lane - 1) * stride_x + kernel_w words each.
#ifndef TR_RUNTIME_CLASS_EXPAND_HPP
#define TR_RUNTIME_CLASS_EXPAND_HPP

#include "runtime/class_conv.hpp"
#include "runtime/planar.hpp"

namespace tr {

// Words of one channel of one row.
TR_INLINE size_t class_stretch_words(const Conv2D& layer) {
  return (planar_lane_words(layer.out_w) - 1) * layer.stride_x + layer.kernel_w;
}

// Rows of the expanded input.
TR_INLINE size_t class_rows(const Conv2D& layer) {
  return static_cast<size_t>(layer.out_h - 1) * layer.stride_y + layer.kernel_h;
}

// Four channels of four pixels at `p`, channel c in every byte of to[c * stretch].
TR_INLINE void class_transpose(const uint8_t* const* p, size_t c, uint32_t* to, size_t stretch) {
  const uint32_t even = 0x00ff00ffu;
  const uint32_t a = load4(p[0] + c);
  const uint32_t b = load4(p[1] + c);
  const uint32_t d = load4(p[2] + c);
  const uint32_t e = load4(p[3] + c);
  const uint32_t ab02 = (a & even) | (b & even) << 8;
  const uint32_t ab13 = (a >> 8 & even) | (b & ~even);
  const uint32_t de02 = (d & even) | (e & even) << 8;
  const uint32_t de13 = (d >> 8 & even) | (e & ~even);
  to[0] = (ab02 & 0xffffu) | de02 << 16;
  to[stretch] = (ab13 & 0xffffu) | de13 << 16;
  to[2 * stretch] = ab02 >> 16 | (de02 & 0xffff0000u);
  to[3 * stretch] = ab13 >> 16 | (de13 & 0xffff0000u);
}

// The whole input at `in` to `words`. `zeros` is in_c bytes that are zero.
inline TR_NOINLINE void class_expand(const Conv2D& layer, const uint8_t* in, const uint8_t* zeros,
                                     uint32_t* words) {
  const size_t stretch = class_stretch_words(layer);
  const size_t channels = layer.in_c;
  const size_t rows = class_rows(layer);
  const int32_t apart = static_cast<int32_t>(planar_lane_words(layer.out_w)) * layer.stride_x;
  for (size_t r = 0; r < rows; ++r, words += channels * stretch) {
    const int32_t y = static_cast<int32_t>(r) - layer.pad_top;
    const bool outside = y < 0 || y >= layer.in_h;
    const uint8_t* row = outside ? zeros : in + static_cast<size_t>(y) * layer.in_w * channels;
    for (size_t i = 0; i < stretch; ++i) {
      const uint8_t* p[4];
      int32_t x = static_cast<int32_t>(i) - layer.pad_left;
      for (size_t l = 0; l < 4; ++l, x += apart) {
        const bool none = outside || x < 0 || x >= layer.in_w;
        p[l] = none ? zeros : row + static_cast<size_t>(x) * channels;
      }
      uint32_t* to = words + i;
      size_t c = 0;
      for (; c + 4 <= channels; c += 4, to += 4 * stretch) class_transpose(p, c, to, stretch);
      for (; c < channels; ++c, to += stretch) {
        *to = p[0][c] | static_cast<uint32_t>(p[1][c]) << 8 | static_cast<uint32_t>(p[2][c]) << 16 |
              static_cast<uint32_t>(p[3][c]) << 24;
      }
    }
  }
}

// The input of a layer in HWC order, expanded into the first part of `scratch`; `rest` gets what is
// left of it.
inline ClassInput class_expanded(const Conv2D& layer, const Buffers& at, bool depthwise,
                                 uint8_t*& rest) {
  const size_t stretch = 4 * class_stretch_words(layer);
  const size_t row = layer.in_c * stretch;
  rest = at.scratch + class_rows(layer) * row;
  for (size_t c = 0; c < layer.in_c; ++c) rest[c] = 0;
  class_expand(layer, at.in, rest, reinterpret_cast<uint32_t*>(at.scratch));
  return {at.scratch,
          layer.stride_y * row,
          4u * layer.stride_x,
          stretch,
          planar_lane_words(layer.out_w),
          depthwise ? 1u : layer.in_c,
          depthwise ? stretch : 0};
}

// A planar input, read where it lies: pads reach its borders at most, and its lanes are stride_x
// times as far apart as the output's (`direct` in kernels/counts/class_lists.py).
inline ClassInput class_planar_input(const Conv2D& layer, const Buffers& at, bool depthwise) {
  const size_t stretch = 4 * planar_row_words(layer.in_w);
  const size_t row = layer.in_c * stretch;
  return {at.in + (1u - layer.pad_top) * row + 4 * (1u - layer.pad_left),
          layer.stride_y * row,
          4u * layer.stride_x,
          stretch,
          planar_lane_words(layer.out_w),
          depthwise ? 1u : layer.in_c,
          depthwise ? stretch : 0};
}

}  // namespace tr

#endif
