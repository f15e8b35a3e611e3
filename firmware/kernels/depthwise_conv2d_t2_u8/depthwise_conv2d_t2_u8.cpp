#include "kernels/depthwise_conv2d_t2_u8/depthwise_conv2d_t2_u8.hpp"

#include "runtime/fixed.hpp"

namespace tr {
namespace {

constexpr size_t per_word = 16;  // codes w + 1 of neighbouring channels

// The sums of `n` channels (at most per_word) of one pixel, of which tap (i, j) is at
// in + (i * in_w + j) * in_c; the taps that lie in the image are [i0, i1) x [j0, j1).
struct Window {
  const uint8_t* in;
  size_t i0, i1, j0, j1;
};

TR_NOINLINE void sums(const Conv2D& layer, const Window& window, const uint32_t* weights, size_t n,
                      int32_t* acc) {
  for (size_t k = 0; k < n; ++k) acc[k] = 0;
  const size_t tap_words = (layer.in_c + per_word - 1) / per_word;
  for (size_t i = window.i0; i < window.i1; ++i) {
    for (size_t j = window.j0; j < window.j1; ++j) {
      uint32_t codes = weights[(i * layer.kernel_w + j) * tap_words];
      const uint8_t* x = window.in + (i * layer.in_w + j) * layer.in_c;
      for (size_t k = 0; k < n; ++k, codes >>= 2) {
        acc[k] += (static_cast<int32_t>(codes & 3u) - 1) * x[k];
      }
    }
  }
}

// The taps [first, last) of `kernel` from position `at` that lie in 0 .. size - 1.
TR_INLINE void inside(int32_t at, int32_t kernel, int32_t size, size_t& first, size_t& last) {
  first = static_cast<size_t>(at < 0 ? -at : 0);
  last = static_cast<size_t>(at + kernel > size ? size - at : kernel);
}

}  // namespace

void depthwise_conv2d_t2_u8(const Conv2D& layer, const Buffers& at) {
  const size_t channels = layer.in_c;
  size_t index = 0;
  for (size_t y = 0; y < layer.out_h; ++y) {
    const int32_t y0 = static_cast<int32_t>(y * layer.stride_y) - layer.pad_top;
    Window window;
    inside(y0, layer.kernel_h, layer.in_h, window.i0, window.i1);
    for (size_t x = 0; x < layer.out_w; ++x, index += channels) {
      const int32_t x0 = static_cast<int32_t>(x * layer.stride_x) - layer.pad_left;
      inside(x0, layer.kernel_w, layer.in_w, window.j0, window.j1);
      const int32_t pixel = y0 * layer.in_w + x0;  // of tap (0, 0), which may lie outside
      for (size_t c = 0; c < channels; c += per_word) {
        window.in = at.in + pixel * layer.in_c + static_cast<int32_t>(c);
        const size_t n = channels - c < per_word ? channels - c : per_word;
        int32_t acc[per_word];
        sums(layer, window, layer.weights + c / per_word, n, acc);
        for (size_t k = 0; k < n; ++k) {
          finish(layer.requantize, c + k, index + c + k, 1, acc + k, 1, at);
        }
      }
    }
  }
}

}  // namespace tr
