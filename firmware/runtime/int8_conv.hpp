// Convolution, depthwise convolution and matrix product in plain C++: the meaning of every faster
// form. One body for int8 and int4 weights; padding is skipped, which is what adding the zero point
// less itself comes to.
#ifndef TR_RUNTIME_INT8_CONV_HPP
#define TR_RUNTIME_INT8_CONV_HPP

#include "runtime/int8.hpp"
#include "runtime/int8_windows.hpp"

namespace tr {

// How weights lie in memory, by runs: those of one tap's input channels, or of one output of a
// matrix product. dot() is the sum of (in[i] + offset) * weight over a run.
struct WeightsI8 {
  TR_INLINE static size_t bytes(size_t run) { return run; }

  TR_INLINE static int32_t dot(const int8_t* in, int32_t offset, const uint8_t* run, size_t count) {
    const int8_t* weight = as_i8(run);
    int32_t sum = 0;
    for (; count >= 4; count -= 4, in += 4, weight += 4) {
      TR_UNROLL
      for (size_t i = 0; i < 4; ++i) sum += (in[i] + offset) * weight[i];
    }
    for (; count != 0; --count) sum += (*in++ + offset) * *weight++;
    return sum;
  }
};

// Two to a byte, the first in the low nibble; every run starts with a byte.
struct WeightsI4 {
  TR_INLINE static size_t bytes(size_t run) { return (run + 1) / 2; }

  TR_INLINE static int32_t low(uint32_t pair) { return static_cast<int32_t>(pair << 28) >> 28; }
  TR_INLINE static int32_t high(uint32_t pair) { return static_cast<int32_t>(pair << 24) >> 28; }

  TR_INLINE static int32_t dot(const int8_t* in, int32_t offset, const uint8_t* run, size_t count) {
    int32_t sum = 0;
    for (; count >= 2; count -= 2, in += 2, ++run) {
      sum += (in[0] + offset) * low(*run) + (in[1] + offset) * high(*run);
    }
    return count == 0 ? sum : sum + (*in + offset) * low(*run);
  }
};

template <class Weights>
inline void conv2d_portable(const Conv2DI8& layer, const Buffers& at) {
  const uint8_t* weights = static_cast<const uint8_t*>(layer.weights);
  const int8_t* in = as_i8(at.in);
  int8_t* out = as_i8(at.out);
  const size_t row = static_cast<size_t>(layer.in_w) * layer.in_c;
  const size_t step = static_cast<size_t>(layer.dilation_x) * layer.in_c;
  const size_t run = Weights::bytes(layer.in_c);
  const size_t kernel_row = run * layer.kernel_w;
  for (uint32_t oy = 0; oy < layer.out_h; ++oy) {
    const int32_t y0 = static_cast<int32_t>(oy * layer.stride_y) - layer.pad_top;
    const Taps ys = taps_inside(y0, layer.kernel_h, layer.dilation_y, layer.in_h);
    for (uint32_t ox = 0; ox < layer.out_w; ++ox) {
      const int32_t x0 = static_cast<int32_t>(ox * layer.stride_x) - layer.pad_left;
      const Taps xs = taps_inside(x0, layer.kernel_w, layer.dilation_x, layer.in_w);
      const int32_t x = x0 + static_cast<int32_t>(xs.first * layer.dilation_x);
      const uint8_t* channel = weights + xs.first * run;
      for (size_t c = 0; c < layer.out_c; ++c, channel += kernel_row * layer.kernel_h) {
        int32_t acc = layer.requantize.bias[c];
        for (uint32_t ky = ys.first; ky < ys.end; ++ky) {
          const size_t y = static_cast<size_t>(y0 + static_cast<int32_t>(ky * layer.dilation_y));
          const int8_t* pixel = in + y * row + static_cast<size_t>(x) * layer.in_c;
          const uint8_t* tap = channel + ky * kernel_row;
          for (uint32_t kx = xs.first; kx < xs.end; ++kx, pixel += step, tap += run) {
            acc += Weights::dot(pixel, layer.input_offset, tap, layer.in_c);
          }
        }
        *out++ = requantize_i8(layer.requantize, c, acc);
      }
    }
  }
}

inline void depthwise_conv2d_portable(const Conv2DI8& layer, const Buffers& at) {
  const int8_t* weights = static_cast<const int8_t*>(layer.weights);
  const int8_t* in = as_i8(at.in);
  int8_t* out = as_i8(at.out);
  const size_t row = static_cast<size_t>(layer.in_w) * layer.in_c;
  const size_t step = static_cast<size_t>(layer.dilation_x) * layer.in_c;
  for (uint32_t oy = 0; oy < layer.out_h; ++oy) {
    const int32_t y0 = static_cast<int32_t>(oy * layer.stride_y) - layer.pad_top;
    const Taps ys = taps_inside(y0, layer.kernel_h, layer.dilation_y, layer.in_h);
    for (uint32_t ox = 0; ox < layer.out_w; ++ox) {
      const int32_t x0 = static_cast<int32_t>(ox * layer.stride_x) - layer.pad_left;
      const Taps xs = taps_inside(x0, layer.kernel_w, layer.dilation_x, layer.in_w);
      size_t c = 0;
      for (size_t i = 0; i < layer.in_c; ++i) {
        for (size_t k = 0; k < layer.depth_multiplier; ++k, ++c) {
          int32_t acc = layer.requantize.bias[c];
          for (uint32_t ky = ys.first; ky < ys.end; ++ky) {
            const size_t y = static_cast<size_t>(y0 + static_cast<int32_t>(ky * layer.dilation_y));
            const int32_t x = x0 + static_cast<int32_t>(xs.first * layer.dilation_x);
            const int8_t* tap = in + y * row + static_cast<size_t>(x) * layer.in_c + i;
            const int8_t* w =
                weights + (static_cast<size_t>(ky) * layer.kernel_w + xs.first) * layer.out_c + c;
            for (uint32_t kx = xs.first; kx < xs.end; ++kx, tap += step, w += layer.out_c) {
              acc += (*tap + layer.input_offset) * *w;
            }
          }
          *out++ = requantize_i8(layer.requantize, c, acc);
        }
      }
    }
  }
}

template <class Weights>
inline void dense_portable(const DenseI8& layer, const Buffers& at) {
  const int8_t* in = as_i8(at.in);
  int8_t* out = as_i8(at.out);
  const size_t run = Weights::bytes(layer.inputs);
  for (uint32_t r = 0; r < layer.rows; ++r, in += layer.inputs) {
    const uint8_t* weights = static_cast<const uint8_t*>(layer.weights);
    for (size_t o = 0; o < layer.outputs; ++o, weights += run) {
      int32_t acc = layer.requantize.bias[o];
      acc += Weights::dot(in, layer.input_offset, weights, layer.inputs);
      *out++ = requantize_i8(layer.requantize, o, acc);
    }
  }
}

}  // namespace tr

#endif
