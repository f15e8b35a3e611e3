#include "kernels/conv2d_t2_u8/conv2d_t2_u8.hpp"

#include "runtime/fixed.hpp"
#include "runtime/t2.hpp"

namespace tr {
namespace {

constexpr size_t columns = 4;  // output pixels that share a pass over the weights

// Zeros for `quads` quads of one column.
inline uint32_t* clear(uint32_t* column, size_t quads) {
  for (; quads != 0; --quads, column += 2 * columns) {
    column[0] = 0;
    column[columns] = 0;
  }
  return column;
}

// One kernel row of one column where the window crosses the left or right edge: byte by byte.
uint32_t expand_edge(const Conv2D& layer, const uint8_t* row, int32_t x0, uint32_t* column) {
  uint32_t sum = 0;
  uint32_t word = 0;
  uint32_t filled = 0;
  for (int32_t x = x0; x < x0 + layer.kernel_w; ++x) {
    const bool inside = x >= 0 && x < layer.in_w;
    const uint8_t* pixel = inside ? row + static_cast<size_t>(x) * layer.in_c : nullptr;
    for (size_t c = 0; c < layer.in_c; ++c) {
      if (inside) word |= static_cast<uint32_t>(pixel[c]) << (8 * filled);
      if (++filled == 4) {
        column[0] = uxtb16(word);
        column[columns] = uxtb16_ror8(word);
        column += 2 * columns;
        sum = add_bytes(word, sum);
        word = filled = 0;
      }
    }
  }
  if (filled != 0) {
    column[0] = uxtb16(word);
    column[columns] = uxtb16_ror8(word);
    sum = add_bytes(word, sum);
  }
  return sum;
}

// The window of output pixel (oy, ox) as one column of halfword pairs; returns the sum of its
// inputs. Every kernel row is padded to whole quads.
uint32_t expand_window(const Conv2D& layer, const uint8_t* in, size_t oy, size_t ox,
                       uint32_t* column) {
  const size_t row_bytes = static_cast<size_t>(layer.kernel_w) * layer.in_c;
  const size_t row_quads = (row_bytes + 3) / 4;
  const int32_t y0 = static_cast<int32_t>(oy * layer.stride_y) - layer.pad_top;
  const int32_t x0 = static_cast<int32_t>(ox * layer.stride_x) - layer.pad_left;
  const bool edge = x0 < 0 || x0 + layer.kernel_w > layer.in_w;
  uint32_t sum = 0;
  for (int32_t y = y0; y < y0 + layer.kernel_h; ++y, column += 2 * columns * row_quads) {
    if (y < 0 || y >= layer.in_h) {
      clear(column, row_quads);
      continue;
    }
    const uint8_t* row = in + static_cast<size_t>(y) * layer.in_w * layer.in_c;
    if (edge) {
      sum += expand_edge(layer, row, x0, column);
    } else {
      sum += t2_expand<columns>(row + static_cast<size_t>(x0) * layer.in_c, row_bytes, column);
    }
  }
  return sum;
}

// All output channels of `N` expanded columns.
template <int N>
void channels(const Conv2D& layer, const uint32_t* column, size_t quads, const int32_t* start,
              size_t pixel, const Buffers& at) {
  const size_t out_c = layer.requantize.channels;
  const uint32_t* weights = layer.weights;
  for (size_t o = 0; o < out_c; ++o) {
    int32_t acc[columns] = {start[0], start[1], start[2], start[3]};
    weights = t2_dot<columns>(weights, column, quads, acc);
    finish<N>(layer.requantize, o, pixel * out_c + o, out_c, acc, at);
  }
}

}  // namespace

void conv2d_t2_u8(const Conv2D& layer, const Buffers& at) {
  uint32_t* column = reinterpret_cast<uint32_t*>(at.scratch);
  const size_t row_quads = (static_cast<size_t>(layer.kernel_w) * layer.in_c + 3) / 4;
  const size_t quads = row_quads * layer.kernel_h;
  const size_t pixels = static_cast<size_t>(layer.out_h) * layer.out_w;
  int32_t start[columns] = {0, 0, 0, 0};
  size_t oy = 0;
  size_t ox = 0;
  for (size_t pixel = 0; pixel < pixels; pixel += columns) {
    const size_t n = pixels - pixel < columns ? pixels - pixel : columns;
    for (size_t i = 0; i < columns; ++i) {
      if (i >= n) {  // fewer pixels are left than columns
        clear(column + i, quads);
        continue;
      }
      start[i] = -static_cast<int32_t>(expand_window(layer, at.in, oy, ox, column + i));
      if (++ox == layer.out_w) {
        ox = 0;
        ++oy;
      }
    }
    switch (n) {
      case 4:
        channels<4>(layer, column, quads, start, pixel, at);
        break;
      case 3:
        channels<3>(layer, column, quads, start, pixel, at);
        break;
      case 2:
        channels<2>(layer, column, quads, start, pixel, at);
        break;
      default:
        channels<1>(layer, column, quads, start, pixel, at);
        break;
    }
  }
}

}  // namespace tr
