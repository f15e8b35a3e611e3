#include "kernels/depthwise_conv2d_i8w_i8/depthwise_conv2d_i8w_i8.hpp"

#include "runtime/int8.hpp"
#include "runtime/int8_simd.hpp"
#include "runtime/int8_windows.hpp"

namespace tr {
namespace {

// The taps of a window that lie in the input: pixels and weights from the first of them on, and how
// far it is from tap to tap and from row to row.
struct Window {
  const uint8_t* pixel;
  const uint8_t* weights;
  size_t pixel_step, pixel_row, weights_step, weights_row;
  uint32_t rows, columns;
};

// Four channels of one window: inputs get the offset as they become halfwords.
TR_NOINLINE void window4(const Conv2DI8& layer, const Window& window, size_t c, uint8_t* out) {
  const RequantizeI8& r = layer.requantize;
  const uint32_t offset = static_cast<uint16_t>(layer.input_offset) * 0x10001u;
  const size_t pixel_step = window.pixel_step, weights_step = window.weights_step;
  int32_t sum0 = r.bias[c], sum1 = r.bias[c + 1], sum2 = r.bias[c + 2], sum3 = r.bias[c + 3];
  const uint8_t* pixels = window.pixel + c;
  const uint8_t* weights = window.weights + c;
  for (uint32_t i = window.rows; i != 0; --i) {
    const uint8_t* pixel = pixels;
    const uint8_t* weight = weights;
    for (uint32_t j = window.columns; j != 0; --j, pixel += pixel_step, weight += weights_step) {
      const uint32_t x = load4(pixel), w = load4(weight);
      const uint32_t even = sxtab16(offset, x), odd = sxtab16_ror8(offset, x);
      const uint32_t even_weights = sxtb16(w), odd_weights = sxtb16_ror8(w);
      sum0 += low_half(even) * low_half(even_weights);
      sum1 += low_half(odd) * low_half(odd_weights);
      sum2 += high_half(even) * high_half(even_weights);
      sum3 += high_half(odd) * high_half(odd_weights);
    }
    pixels += window.pixel_row;
    weights += window.weights_row;
  }
  const int32_t sums[4] = {sum0, sum1, sum2, sum3};
  for (size_t i = 0; i < 4; ++i) out[i] = static_cast<uint8_t>(requantize_i8(r, c + i, sums[i]));
}

}  // namespace

void depthwise_conv2d_i8w_i8(const Conv2DI8& layer, const Buffers& at) {
  const size_t channels = layer.in_c;
  const size_t row = layer.in_w * channels;
  const uint8_t* weights = static_cast<const uint8_t*>(layer.weights);
  uint8_t* out = at.out;
  for (uint32_t oy = 0; oy < layer.out_h; ++oy) {
    const int32_t y0 = static_cast<int32_t>(oy * layer.stride_y) - layer.pad_top;
    const Taps ys = taps_inside(y0, layer.kernel_h, layer.dilation_y, layer.in_h);
    const size_t y = static_cast<size_t>(y0 + static_cast<int32_t>(ys.first * layer.dilation_y));
    for (uint32_t ox = 0; ox < layer.out_w; ++ox) {
      const int32_t x0 = static_cast<int32_t>(ox * layer.stride_x) - layer.pad_left;
      const Taps xs = taps_inside(x0, layer.kernel_w, layer.dilation_x, layer.in_w);
      const size_t x = static_cast<size_t>(x0 + static_cast<int32_t>(xs.first * layer.dilation_x));
      const size_t tap = static_cast<size_t>(ys.first) * layer.kernel_w + xs.first;
      Window window = {at.in + y * row + x * channels,
                       weights + tap * channels,
                       channels * layer.dilation_x,
                       row * layer.dilation_y,
                       channels,
                       channels * layer.kernel_w,
                       ys.end - ys.first,
                       xs.end - xs.first};
      for (size_t c = 0; c < channels; c += 4, out += 4) window4(layer, window, c, out);
    }
  }
}

}  // namespace tr
