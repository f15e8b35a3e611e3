// The windows of a convolution, one output pixel after the other.
//
// A kernel that wants the inputs of a window in some layout of its own gives a Column with
//   void inside(const uint8_t* first)               one kernel row, all of it in the input
//   void edge(const uint8_t* row, int32_t x0)       one that crosses the left or right border:
//                                                   `row` is the input row, x0 its first pixel
//   void outside()                                  one above or below the input
// which are called once per kernel row, from top to bottom.
#ifndef TR_RUNTIME_WINDOWS_HPP
#define TR_RUNTIME_WINDOWS_HPP

#include "runtime/dsp.hpp"
#include "runtime/layers.hpp"

namespace tr {

class Windows {
 public:
  Windows(const Conv2D& conv, const uint8_t* in)
      : layer(conv),
        input(in),
        row_bytes(static_cast<size_t>(conv.in_w) * conv.in_c),
        x(0),
        x0(-static_cast<int32_t>(conv.pad_left)),
        y0(-static_cast<int32_t>(conv.pad_top)) {}

  // Give the window of the next output pixel to `column`.
  template <class Column>
  TR_INLINE void next(Column& column) {
    if (y0 < 0 || y0 + layer.kernel_h > layer.in_h || x0 < 0 || x0 + layer.kernel_w > layer.in_w) {
      border(column);
    } else {
      const size_t pixel = static_cast<size_t>(y0) * layer.in_w + static_cast<size_t>(x0);
      const uint8_t* first = input + pixel * layer.in_c;
      for (uint32_t y = layer.kernel_h; y != 0; --y, first += row_bytes) column.inside(first);
    }
    x0 += layer.stride_x;
    if (++x == layer.out_w) {
      x = 0;
      x0 = -static_cast<int32_t>(layer.pad_left);
      y0 += layer.stride_y;
    }
  }

 private:
  template <class Column>
  TR_NOINLINE void border(Column& column) const {
    const bool crosses = x0 < 0 || x0 + layer.kernel_w > layer.in_w;
    for (int32_t y = y0; y < y0 + layer.kernel_h; ++y) {
      const uint8_t* row = input + static_cast<size_t>(y < 0 ? 0 : y) * row_bytes;
      if (y < 0 || y >= layer.in_h) {
        column.outside();
      } else if (crosses) {
        column.edge(row, x0);
      } else {
        column.inside(row + static_cast<size_t>(x0) * layer.in_c);
      }
    }
  }

  const Conv2D& layer;
  const uint8_t* input;
  size_t row_bytes;
  size_t x;  // output column
  int32_t x0, y0;
};

// The part of a kernel row that lies in the input: pads are smaller than the kernel, so there is
// one. `first` and `last` count pixels from the row's start, `before` and `after` the padding.
struct Span {
  Span(const Conv2D& layer, int32_t x0) {
    const int32_t end = x0 + layer.kernel_w;
    const int32_t from = x0 < 0 ? 0 : x0;
    const int32_t to = end > layer.in_w ? layer.in_w : end;
    first = static_cast<size_t>(from);
    pixels = static_cast<size_t>(to - from);
    before = static_cast<size_t>(from - x0);
    after = static_cast<size_t>(end - to);
  }
  size_t first, pixels, before, after;
};

}  // namespace tr

#endif
