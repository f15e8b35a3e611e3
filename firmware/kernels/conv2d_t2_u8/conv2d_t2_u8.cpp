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

// One kernel row of one column where the window crosses the left or right edge.
uint32_t expand_edge(const Conv2D& layer, const uint8_t* row, int32_t x0, uint32_t* column) {
  uint32_t sum = 0;
  if (layer.in_c % 4 == 0) {  // pixels are whole quads: zeros, a run of pixels, zeros
    const int32_t end = x0 + layer.kernel_w;  // pads are smaller than the kernel: the run is there
    const int32_t from = x0 < 0 ? 0 : x0;
    const int32_t to = end > layer.in_w ? layer.in_w : end;
    const size_t quads = layer.in_c / 4u;
    const size_t bytes = static_cast<size_t>(to - from) * layer.in_c;
    column = clear(column, static_cast<size_t>(from - x0) * quads);
    sum = t2_expand<columns>(row + static_cast<size_t>(from) * layer.in_c, bytes, column);
    clear(column + 2 * columns * (bytes / 4), static_cast<size_t>(end - to) * quads);
    return sum;
  }
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

// What every window of the layer has in common.
struct Shape {
  size_t row_bytes;    // one kernel row of the input
  size_t row_quads;    // the same in quads: every kernel row is padded to whole quads
  size_t in_row;       // bytes from an input row to the next
  size_t column_step;  // words of one kernel row of a column
};

// A window that crosses the input's border.
[[gnu::noinline]] uint32_t expand_border(const Conv2D& layer, const Shape& shape, const uint8_t* in,
                                         int32_t y0, int32_t x0, uint32_t* column) {
  const bool edge = x0 < 0 || x0 + layer.kernel_w > layer.in_w;
  uint32_t sum = 0;
  for (int32_t y = y0; y < y0 + layer.kernel_h; ++y, column += shape.column_step) {
    if (y < 0 || y >= layer.in_h) {
      clear(column, shape.row_quads);
      continue;
    }
    const uint8_t* row = in + static_cast<size_t>(y) * shape.in_row;
    if (edge) {
      sum += expand_edge(layer, row, x0, column);
    } else {
      const uint8_t* first = row + static_cast<size_t>(x0) * layer.in_c;
      sum += t2_expand<columns>(first, shape.row_bytes, column);
    }
  }
  return sum;
}

// The window whose first input pixel is (y0, x0) as one column of halfword pairs; returns the sum
// of its inputs.
inline uint32_t expand_window(const Conv2D& layer, const Shape& shape, const uint8_t* in,
                              int32_t y0, int32_t x0, uint32_t* column) {
  if (y0 < 0 || y0 + layer.kernel_h > layer.in_h || x0 < 0 || x0 + layer.kernel_w > layer.in_w) {
    return expand_border(layer, shape, in, y0, x0, column);
  }
  const size_t pixel = static_cast<size_t>(y0) * layer.in_w + static_cast<size_t>(x0);
  const uint8_t* row = in + pixel * layer.in_c;
  uint32_t sum = 0;
  for (uint32_t y = layer.kernel_h; y != 0; --y, row += shape.in_row, column += shape.column_step) {
    sum += t2_expand<columns>(row, shape.row_bytes, column);
  }
  return sum;
}

// Where the tiles have got to.
struct Cursor {
  size_t x;  // output column
  int32_t y0, x0;
};

// The windows of the next `n` output pixels; `start` gets what each sum starts with.
[[gnu::noinline]] void expand_tile(const Conv2D& layer, const Shape& shape, const uint8_t* in,
                                   size_t n, Cursor& at, uint32_t* column, int32_t* start) {
  for (size_t i = 0; i < n; ++i, ++column) {
    *start++ = -static_cast<int32_t>(expand_window(layer, shape, in, at.y0, at.x0, column));
    at.x0 += layer.stride_x;
    if (++at.x == layer.out_w) {
      at.x = 0;
      at.x0 = -static_cast<int32_t>(layer.pad_left);
      at.y0 += layer.stride_y;
    }
  }
  for (size_t i = n; i < columns; ++i) clear(column++, shape.row_quads * layer.kernel_h);
}

// All output channels of the expanded columns, the first `n` of which are output pixels.
template <Quick kind>
[[gnu::noinline]] void channels(const Conv2D& layer, const uint32_t* column, size_t quads,
                                const int32_t* start, size_t pixel, size_t n, const Buffers& at) {
  const size_t out_c = layer.requantize.channels;
  const uint32_t* weights = layer.weights;
  size_t index = pixel * out_c;
  for (size_t o = 0; o < out_c; ++o, ++index) {
    int32_t acc[columns] = {start[0], start[1], start[2], start[3]};
    weights = t2_dot<columns>(weights, column, quads, acc);
#if TR_DSP
    if (kind != Quick::none) {
      finish4<kind>(layer.requantize, o, index, out_c, acc, at);
      continue;
    }
#endif
    finish(layer.requantize, o, index, out_c, acc, n, at);
  }
}

// channels() of a whole tile, the way that was decided for the layer.
void tile(Quick kind, const Conv2D& layer, const uint32_t* column, size_t quads,
          const int32_t* start, size_t pixel, const Buffers& at) {
  switch (kind) {
    case Quick::raw:
      return channels<Quick::raw>(layer, column, quads, start, pixel, columns, at);
    case Quick::plain:
      return channels<Quick::plain>(layer, column, quads, start, pixel, columns, at);
    case Quick::add8:
      return channels<Quick::add8>(layer, column, quads, start, pixel, columns, at);
    case Quick::add16:
      return channels<Quick::add16>(layer, column, quads, start, pixel, columns, at);
    case Quick::none:
      return channels<Quick::none>(layer, column, quads, start, pixel, columns, at);
  }
}

}  // namespace

void conv2d_t2_u8(const Conv2D& layer, const Buffers& at) {
  uint32_t* column = reinterpret_cast<uint32_t*>(at.scratch);
  Shape shape;
  shape.row_bytes = static_cast<size_t>(layer.kernel_w) * layer.in_c;
  shape.row_quads = (shape.row_bytes + 3) / 4;
  shape.in_row = static_cast<size_t>(layer.in_w) * layer.in_c;
  shape.column_step = 2 * columns * shape.row_quads;
  const size_t quads = shape.row_quads * layer.kernel_h;
  const size_t pixels = static_cast<size_t>(layer.out_h) * layer.out_w;
  const Quick kind = quick(layer.requantize);
  Cursor cursor = {0, -static_cast<int32_t>(layer.pad_top), -static_cast<int32_t>(layer.pad_left)};
  int32_t start[columns] = {0, 0, 0, 0};
  size_t pixel = 0;
  for (; pixel + columns <= pixels; pixel += columns) {
    expand_tile(layer, shape, at.in, columns, cursor, column, start);
    tile(kind, layer, column, quads, start, pixel, at);
  }
  if (pixel < pixels) {
    expand_tile(layer, shape, at.in, pixels - pixel, cursor, column, start);
    channels<Quick::none>(layer, column, quads, start, pixel, pixels - pixel, at);
  }
}

}  // namespace tr
