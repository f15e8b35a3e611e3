// Depthwise convolution of up to 3x3 strip by strip, over the planes of int8_planes.hpp.
#ifndef TR_RUNTIME_INT8_STRIPS_HPP
#define TR_RUNTIME_INT8_STRIPS_HPP

#include "runtime/int8_planes.hpp"

namespace tr {

// Strips of the output, each of them for four channels: all inputs are in scratch before the first
// output is written, so that a layer of one strip may run in place. Stride is 1 or 2.
template <unsigned Stride>
class Strips {
  static constexpr uint32_t strip_rows = Stride == 1 ? plane_rows - 2 : plane_rows / 2 - 2;
  static constexpr uint32_t strip_columns = Stride == 1 ? 16 : 8;

 public:
  Strips(const Conv2DI8& conv, const Buffers& buffers)
      : layer(conv), at(buffers), whole(conv.out_h <= strip_rows && conv.out_w <= strip_columns) {
    const uint32_t zero = static_cast<uint32_t>(-conv.input_offset) & 0xffu;
    blank = zero * 0x01010101u;
    const uint32_t out_zero = static_cast<uint32_t>(2 * conv.requantize.zero_point + 1) & 0xffffu;
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
    const uint32_t pairs = Stride == 1 ? (rows + 3) / 2 : rows + 1;
    expand(planes, channel, y * Stride, x * Stride, pairs, (columns - 1) * Stride + 3);
    const size_t pixel = static_cast<size_t>(y) * layer.out_w + x;
    PlaneWalk walk = {at.out + pixel * layer.in_c + channel,
                      static_cast<size_t>(layer.out_w) * layer.in_c,
                      layer.in_c,
                      rows,
                      columns,
                      rounding};
    const uint32_t* weights = static_cast<const uint32_t*>(layer.weights) + channel * plane_record;
    for (uint32_t i = 0; i < 4; ++i, ++walk.out, planes += plane_words, weights += plane_record) {
      if ((weights[plane_record - 1] & plane_careful) != 0) {
        plane_channel<Stride, true>(weights, planes, walk);
      } else {
        plane_channel<Stride, false>(weights, planes, walk);
      }
    }
  }

  // Four channels of the part of the padded input that the strip reads; padding gets the zero
  // point.
  TR_NOINLINE void expand(uint32_t* planes, size_t channel, uint32_t y_padded, uint32_t x_padded,
                          uint32_t pairs, uint32_t columns) const {
    const size_t row_bytes = static_cast<size_t>(layer.in_w) * layer.in_c;
    const int32_t y0 = static_cast<int32_t>(y_padded) - layer.pad_top;
    int32_t x = static_cast<int32_t>(x_padded) - layer.pad_left;
    // Pairs of rows that are inside the input: from first to last - 1.
    const uint32_t first = y0 < 0 ? static_cast<uint32_t>(1 - y0) / 2 : 0;
    const uint32_t rows_left = static_cast<uint32_t>(layer.in_h - y0) / 2;
    const uint32_t last = rows_left < first ? first : smaller(rows_left, pairs);
    const int32_t y_first = y0 + static_cast<int32_t>(2 * first);
    for (; columns != 0; --columns, ++x, planes += planes_words) {
      if (x < 0 || x >= layer.in_w) {
        if (whole && channel != 0) continue;  // still there from the first channels
        for (uint32_t j = 0; j < pairs; ++j) planes_word(planes + j, blank, blank);
        continue;
      }
      const uint8_t* column = at.in + static_cast<size_t>(x) * layer.in_c + channel;
      planes_expand(planes + first, column + static_cast<size_t>(y_first) * row_bytes, row_bytes,
                    last - first);
      for (uint32_t j = first != 0 ? 0 : last; j < pairs; j = j + 1 == first ? last : j + 1) {
        const int32_t y = y0 + static_cast<int32_t>(2 * j);
        planes_word(planes + j, pixel(column, y, row_bytes), pixel(column, y + 1, row_bytes));
      }
    }
  }

  TR_INLINE uint32_t pixel(const uint8_t* column, int32_t y, size_t row_bytes) const {
    return y >= 0 && y < layer.in_h ? load4(column + static_cast<size_t>(y) * row_bytes) : blank;
  }

  static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

  const Conv2DI8& layer;
  const Buffers& at;
  const bool whole;   // the output is one strip
  uint32_t blank;     // a pixel of the input's zero point
  uint32_t rounding;  // see PlaneWalk
};

}  // namespace tr

#endif
