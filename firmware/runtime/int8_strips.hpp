// Depthwise convolution of up to 3x3 strip by strip, over the planes of int8_planes.hpp.
#ifndef TR_RUNTIME_INT8_STRIPS_HPP
#define TR_RUNTIME_INT8_STRIPS_HPP

#include "runtime/int8_planes.hpp"

namespace tr {

constexpr uint32_t strip_rows = plane_rows - 2;  // of the output, done at once
constexpr uint32_t strip_columns = 16;

// Strips of the output, each of them for four channels: all inputs are in scratch before the first
// output is written, so that a layer of one strip may run in place.
class Strips {
 public:
  Strips(const Conv2DI8& conv, const Buffers& buffers) : layer(conv), at(buffers) {
    const uint32_t zero = static_cast<uint32_t>(-conv.input_offset) & 0xffu;
    blank = zero * 0x01010101u;
    const uint32_t out_zero = static_cast<uint32_t>(2 * (conv.requantize.zero_point + 128) + 1);
    rounding = out_zero | (out_zero << 16);
  }

  void run() const {
    for (size_t channel = 0; channel < layer.in_c; channel += 4) {
      for (uint32_t y = 0; y < layer.out_h; y += strip_rows) {
        for (uint32_t x = 0; x < layer.out_w; x += strip_columns) strip(channel, y, x);
      }
    }
  }

 private:
  TR_INLINE void strip(size_t channel, uint32_t y, uint32_t x) const {
    const uint32_t rows = smaller(layer.out_h - y, strip_rows);
    const uint32_t columns = smaller(layer.out_w - x, strip_columns);
    uint32_t* planes = reinterpret_cast<uint32_t*>(at.scratch);
    expand(planes, channel, y, x, (rows + 3) / 2, columns + 2);
    const size_t pixel = static_cast<size_t>(y) * layer.out_w + x;
    PlaneWalk walk = {at.out + pixel * layer.in_c + channel,
                      static_cast<size_t>(layer.out_w) * layer.in_c,
                      layer.in_c,
                      rows,
                      columns,
                      rounding};
    const uint32_t* weights = static_cast<const uint32_t*>(layer.weights) + channel * plane_record;
    const bool away = layer.requantize.lo < layer.requantize.zero_point;
    for (uint32_t i = 0; i < 4; ++i, ++walk.out, planes += plane_words, weights += plane_record) {
      if (away) {
        plane_channel<true>(weights, planes, walk);
      } else {
        plane_channel<false>(weights, planes, walk);
      }
    }
  }

  // Four channels of the input's part that the strip reads, padding filled with the zero point.
  TR_NOINLINE void expand(uint32_t* planes, size_t channel, uint32_t out_y, uint32_t out_x,
                          uint32_t row_pairs, uint32_t columns) const {
    const uint8_t* nothing = reinterpret_cast<const uint8_t*>(&blank);
    const int32_t x0 = static_cast<int32_t>(out_x) - layer.pad_left;
    const uint32_t before = x0 < 0 ? static_cast<uint32_t>(-x0) : 0;
    const uint32_t from = x0 < 0 ? 0 : static_cast<uint32_t>(x0);
    const uint32_t inside = smaller(columns - before, layer.in_w - from);
    const uint32_t after = columns - before - inside;
    const size_t offset = from * static_cast<size_t>(layer.in_c) + channel;
    int32_t y = static_cast<int32_t>(out_y) - layer.pad_top;
    for (; row_pairs != 0; --row_pairs, y += 2, ++planes) {
      const uint8_t* upper = row_at(y);
      const uint8_t* lower = row_at(y + 1);
      uint32_t* to = planes_expand(planes, nothing, nothing, 0, 0, before);
      to = planes_expand(to, upper != nullptr ? upper + offset : nothing,
                         lower != nullptr ? lower + offset : nothing,
                         upper != nullptr ? layer.in_c : 0u, lower != nullptr ? layer.in_c : 0u,
                         inside);
      planes_expand(to, nothing, nothing, 0, 0, after);
    }
  }

  const uint8_t* row_at(int32_t y) const {
    if (y < 0 || y >= layer.in_h) return nullptr;
    return at.in + static_cast<size_t>(y) * layer.in_w * layer.in_c;
  }

  static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

  const Conv2DI8& layer;
  const Buffers& at;
  uint32_t blank;     // a pixel of the input's zero point
  uint32_t rounding;  // see PlaneWalk
};

}  // namespace tr

#endif
