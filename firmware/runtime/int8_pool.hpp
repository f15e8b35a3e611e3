// Pooling over windows, average and maximum from one body: four channels at a time, then the rest
// one by one.
#ifndef TR_RUNTIME_INT8_POOL_HPP
#define TR_RUNTIME_INT8_POOL_HPP

#include "runtime/int8.hpp"
#include "runtime/int8_windows.hpp"

namespace tr {

// The part of a window that lies in the input: at least one element of every channel.
struct WindowI8 {
  const int8_t* first;
  size_t row;       // bytes from a row of the input to the next
  size_t channels;  // bytes from a pixel to the next
  uint32_t height, width;
};

// Folds N channels of a window, from its channel c on. `Kind` has int32_t start() and
// add(value, element).
template <class Kind, size_t N>
TR_INLINE void fold_i8(const WindowI8& window, size_t c, int32_t* value) {
  TR_UNROLL
  for (size_t i = 0; i < N; ++i) value[i] = Kind::start();
  const int8_t* line = window.first + c;
  for (uint32_t y = window.height; y != 0; --y, line += window.row) {
    const int8_t* element = line;
    for (uint32_t x = window.width; x != 0; --x, element += window.channels) {
      TR_UNROLL
      for (size_t i = 0; i < N; ++i) value[i] = Kind::add(value[i], element[i]);
    }
  }
}

// Besides, `Kind` has four(window, c, value), which folds four channels, and finish(value,
// elements).
template <class Kind>
inline void pool_i8(const Pool2DI8& layer, const Buffers& at) {
  int8_t* out = as_i8(at.out);
  const int32_t lo = layer.lo;
  const int32_t hi = layer.hi;
  WindowI8 window;
  window.row = static_cast<size_t>(layer.in_w) * layer.channels;
  window.channels = layer.channels;
  for (uint32_t oy = 0; oy < layer.out_h; ++oy) {
    const int32_t y0 = static_cast<int32_t>(oy * layer.stride_y) - layer.pad_top;
    const Taps ys = taps_inside(y0, layer.size_y, 1, layer.in_h);
    const size_t y = static_cast<size_t>(y0 + static_cast<int32_t>(ys.first));
    window.height = ys.end - ys.first;
    for (uint32_t ox = 0; ox < layer.out_w; ++ox) {
      const int32_t x0 = static_cast<int32_t>(ox * layer.stride_x) - layer.pad_left;
      const Taps xs = taps_inside(x0, layer.size_x, 1, layer.in_w);
      const size_t x = static_cast<size_t>(x0 + static_cast<int32_t>(xs.first));
      window.width = xs.end - xs.first;
      window.first = as_i8(at.in) + y * window.row + x * layer.channels;
      const int32_t elements = static_cast<int32_t>(window.height * window.width);
      int32_t value[4];
      size_t c = 0;
      for (; c + 4 <= layer.channels; c += 4) {
        Kind::four(window, c, value);
        TR_UNROLL
        for (size_t i = 0; i < 4; ++i) {
          *out++ = clamp_i8(Kind::finish(value[i], elements), lo, hi);
        }
      }
      for (; c < layer.channels; ++c) {
        fold_i8<Kind, 1>(window, c, value);
        *out++ = clamp_i8(Kind::finish(value[0], elements), lo, hi);
      }
    }
  }
}

}  // namespace tr

#endif
