#include "kernels/average_pool_words_i8/average_pool_words_i8.hpp"

#include "runtime/int8.hpp"
#include "runtime/int8_simd.hpp"
#include "runtime/int8_windows.hpp"

namespace tr {
namespace {

// The part of a window that lies in the input.
struct Window {
  const uint8_t* first;
  size_t row_bytes, pixel_bytes;
  uint32_t rows, columns;
};

TR_INLINE uint8_t average(const Pool2DI8& layer, int32_t sum, int32_t half, int32_t elements) {
  const int32_t quotient = (sum > 0 ? sum + half : sum - half) / elements;
  return static_cast<uint8_t>(clamp_i8(quotient, layer.lo, layer.hi));
}

// Four channels of one window: no sum leaves int16, as there are no more than 255 elements.
TR_NOINLINE void average4(const Pool2DI8& layer, const Window& window, size_t channel,
                          uint8_t* out) {
  const uint8_t* row = window.first + channel;
  const size_t pixel_bytes = window.pixel_bytes;
  uint32_t even = 0, odd = 0;
  for (uint32_t i = window.rows; i != 0; --i, row += window.row_bytes) {
    const uint8_t* pixel = row;
    for (uint32_t j = window.columns; j != 0; --j, pixel += pixel_bytes) {
      const uint32_t word = load4(pixel);
      even = sxtab16(even, word);
      odd = sxtab16_ror8(odd, word);
    }
  }
  const int32_t elements = static_cast<int32_t>(window.rows * window.columns);
  const int32_t half = elements / 2;
  out[0] = average(layer, low_half(even), half, elements);
  out[1] = average(layer, low_half(odd), half, elements);
  out[2] = average(layer, high_half(even), half, elements);
  out[3] = average(layer, high_half(odd), half, elements);
}

}  // namespace

void average_pool_words_i8(const Pool2DI8& layer, const Buffers& at) {
  const size_t channels = layer.channels;
  const size_t row_bytes = layer.in_w * channels;
  uint8_t* out = at.out;
  for (uint32_t oy = 0; oy < layer.out_h; ++oy) {
    const int32_t y0 = static_cast<int32_t>(oy * layer.stride_y) - layer.pad_top;
    const Taps ys = taps_inside(y0, layer.size_y, 1, layer.in_h);
    const size_t y = static_cast<size_t>(y0 + static_cast<int32_t>(ys.first));
    for (uint32_t ox = 0; ox < layer.out_w; ++ox) {
      const int32_t x0 = static_cast<int32_t>(ox * layer.stride_x) - layer.pad_left;
      const Taps xs = taps_inside(x0, layer.size_x, 1, layer.in_w);
      const size_t x = static_cast<size_t>(x0 + static_cast<int32_t>(xs.first));
      const Window window = {at.in + y * row_bytes + x * channels, row_bytes, channels,
                             ys.end - ys.first, xs.end - xs.first};
      for (size_t c = 0; c < channels; c += 4, out += 4) average4(layer, window, c, out);
    }
  }
}

}  // namespace tr
