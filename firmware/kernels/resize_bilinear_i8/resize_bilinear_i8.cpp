#include "kernels/resize_bilinear_i8/resize_bilinear_i8.hpp"

#include "runtime/int8.hpp"

namespace tr {

void resize_bilinear_i8(const BilinearI8& layer, const Buffers& at) {
  constexpr int32_t one = 1 << 10;
  constexpr int32_t square = one * one;
  const size_t channels = layer.channels;
  const size_t row_bytes = layer.in_w * channels;
  const int8_t* in = as_i8(at.in);
  int8_t* out = as_i8(at.out);
  const int16_t* row = layer.rows;
  for (uint32_t y = layer.out_h; y != 0; --y, row += 3) {
    const int8_t* above = in + static_cast<size_t>(row[0]) * row_bytes;
    const int8_t* below = in + static_cast<size_t>(row[1]) * row_bytes;
    const int32_t down = row[2];
    const int16_t* column = layer.columns;
    for (uint32_t x = layer.out_w; x != 0; --x, column += 3) {
      const size_t left = static_cast<size_t>(column[0]) * channels;
      const size_t right = static_cast<size_t>(column[1]) * channels;
      const int32_t across = column[2];
      for (size_t c = 0; c < channels; ++c) {
        const int32_t upper = above[left + c] * (one - across) + above[right + c] * across;
        const int32_t lower = below[left + c] * (one - across) + below[right + c] * across;
        const int32_t v = upper * (one - down) + lower * down;
        // To the nearest, halves away from zero: rounded without its sign, in as many instructions
        // whatever that is.
        const int32_t sign = v >> 31;
        const int32_t magnitude = ((v ^ sign) - sign + square / 2) >> 20;
        *out++ = static_cast<int8_t>((magnitude ^ sign) - sign);
      }
    }
  }
}

}  // namespace tr
