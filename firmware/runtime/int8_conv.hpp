// Convolution, depthwise convolution and matrix product in plain C++: the meaning of every faster
// form. One body for int8 and int4 weights; padding is skipped, which is what adding the zero point
// less itself comes to.
#ifndef TR_RUNTIME_INT8_CONV_HPP
#define TR_RUNTIME_INT8_CONV_HPP

#include "runtime/int8.hpp"
#include "runtime/int8_windows.hpp"

namespace tr {

struct WeightsI8 {
  explicit WeightsI8(const void* packed) : base(static_cast<const int8_t*>(packed)) {}
  TR_INLINE int32_t at(size_t index) const { return base[index]; }
  const int8_t* base;
};

// Two to a byte, the first in the low nibble.
struct WeightsI4 {
  explicit WeightsI4(const void* packed) : base(static_cast<const uint8_t*>(packed)) {}
  TR_INLINE int32_t at(size_t index) const {
    const uint32_t nibble = (base[index >> 1] >> ((index & 1u) * 4)) & 15u;
    return static_cast<int32_t>(nibble ^ 8u) - 8;
  }
  const uint8_t* base;
};

// sum of (in[i] + offset) * weight[first + i], the body of conv2d and dense.
template <class Weights>
TR_INLINE int32_t dot_i8(const int8_t* in, int32_t offset, const Weights& weights, size_t first,
                         size_t count) {
  int32_t sum = 0;
  for (size_t i = 0; i < count; ++i) sum += (in[i] + offset) * weights.at(first + i);
  return sum;
}

template <class Weights>
inline void conv2d_portable(const Conv2DI8& layer, const Buffers& at) {
  const Weights weights(layer.weights);
  const int8_t* in = as_i8(at.in);
  int8_t* out = as_i8(at.out);
  const size_t row = static_cast<size_t>(layer.in_w) * layer.in_c;
  const size_t per_channel = static_cast<size_t>(layer.kernel_h) * layer.kernel_w * layer.in_c;
  const size_t step = static_cast<size_t>(layer.dilation_x) * layer.in_c;
  for (uint32_t oy = 0; oy < layer.out_h; ++oy) {
    const int32_t y0 = static_cast<int32_t>(oy * layer.stride_y) - layer.pad_top;
    const Taps ys = taps_inside(y0, layer.kernel_h, layer.dilation_y, layer.in_h);
    for (uint32_t ox = 0; ox < layer.out_w; ++ox) {
      const int32_t x0 = static_cast<int32_t>(ox * layer.stride_x) - layer.pad_left;
      const Taps xs = taps_inside(x0, layer.kernel_w, layer.dilation_x, layer.in_w);
      for (size_t c = 0; c < layer.out_c; ++c) {
        int32_t acc = layer.requantize.bias[c];
        for (uint32_t ky = ys.first; ky < ys.end; ++ky) {
          const size_t y = static_cast<size_t>(y0 + static_cast<int32_t>(ky * layer.dilation_y));
          size_t w =
              c * per_channel + (static_cast<size_t>(ky) * layer.kernel_w + xs.first) * layer.in_c;
          const int32_t x = x0 + static_cast<int32_t>(xs.first * layer.dilation_x);
          const int8_t* pixel = in + y * row + static_cast<size_t>(x) * layer.in_c;
          for (uint32_t kx = xs.first; kx < xs.end; ++kx, pixel += step, w += layer.in_c) {
            acc += dot_i8(pixel, layer.input_offset, weights, w, layer.in_c);
          }
        }
        *out++ = requantize_i8(layer.requantize, c, acc);
      }
    }
  }
}

template <class Weights>
inline void depthwise_conv2d_portable(const Conv2DI8& layer, const Buffers& at) {
  const Weights weights(layer.weights);
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
            size_t w = (static_cast<size_t>(ky) * layer.kernel_w + xs.first) * layer.out_c + c;
            for (uint32_t kx = xs.first; kx < xs.end; ++kx, tap += step, w += layer.out_c) {
              acc += (*tap + layer.input_offset) * weights.at(w);
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
  const Weights weights(layer.weights);
  const int8_t* in = as_i8(at.in);
  int8_t* out = as_i8(at.out);
  for (uint32_t r = 0; r < layer.rows; ++r, in += layer.inputs) {
    size_t w = 0;
    for (size_t o = 0; o < layer.outputs; ++o, w += layer.inputs) {
      int32_t acc = layer.requantize.bias[o];
      acc += dot_i8(in, layer.input_offset, weights, w, layer.inputs);
      *out++ = requantize_i8(layer.requantize, o, acc);
    }
  }
}

}  // namespace tr

#endif
