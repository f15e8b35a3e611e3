// Pooling in plain C++, average and maximum from one body.
#ifndef TR_RUNTIME_INT8_POOL_HPP
#define TR_RUNTIME_INT8_POOL_HPP

#include "runtime/int8.hpp"
#include "runtime/int8_windows.hpp"

namespace tr {

// `Kind` folds elements: static int32_t start(), int32_t add(value, element), and
// int32_t finish(value, elements) of a window that holds at least one.
template <class Kind>
inline void pool_i8(const Pool2DI8& layer, const Buffers& at) {
  const int8_t* in = as_i8(at.in);
  int8_t* out = as_i8(at.out);
  const size_t row = static_cast<size_t>(layer.in_w) * layer.channels;
  for (uint32_t oy = 0; oy < layer.out_h; ++oy) {
    const int32_t y0 = static_cast<int32_t>(oy * layer.stride_y) - layer.pad_top;
    const Taps ys = taps_inside(y0, layer.size_y, 1, layer.in_h);
    const size_t y = static_cast<size_t>(y0 + static_cast<int32_t>(ys.first));
    for (uint32_t ox = 0; ox < layer.out_w; ++ox) {
      const int32_t x0 = static_cast<int32_t>(ox * layer.stride_x) - layer.pad_left;
      const Taps xs = taps_inside(x0, layer.size_x, 1, layer.in_w);
      const size_t x = static_cast<size_t>(x0 + static_cast<int32_t>(xs.first));
      const int8_t* first = in + y * row + x * layer.channels;
      const uint32_t height = ys.end - ys.first;
      const uint32_t width = xs.end - xs.first;
      const int32_t elements = static_cast<int32_t>(height * width);
      for (size_t c = 0; c < layer.channels; ++c) {
        const int8_t* line = first + c;
        int32_t value = Kind::start();
        for (uint32_t i = height; i != 0; --i, line += row) {
          const int8_t* element = line;
          for (uint32_t j = width; j != 0; --j, element += layer.channels) {
            value = Kind::add(value, *element);
          }
        }
        *out++ = clamp_i8(Kind::finish(value, elements), layer.lo, layer.hi);
      }
    }
  }
}

}  // namespace tr

#endif
