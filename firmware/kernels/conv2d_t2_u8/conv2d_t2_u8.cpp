#include "kernels/conv2d_t2_u8/conv2d_t2_u8.hpp"

#include "runtime/fixed.hpp"
#include "runtime/t2.hpp"
#include "runtime/windows.hpp"

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

// A window as one column of halfword pairs, and the sum of its inputs. Every kernel row is padded
// to whole quads.
struct Column {
  Column(const Conv2D& conv, uint32_t* first) : layer(conv), at(first), sum(0) {
    row_bytes = static_cast<size_t>(conv.kernel_w) * conv.in_c;
    row_quads = (row_bytes + 3) / 4;
  }

  TR_INLINE void inside(const uint8_t* first) {
    sum += t2_expand<columns>(first, row_bytes, at);
    at += 2 * columns * row_quads;
  }

  void outside() { at = clear(at, row_quads); }

  void edge(const uint8_t* row, int32_t x0) {
    const Span span(layer, x0);
    const uint8_t* in = row + span.first * layer.in_c;
    const size_t bytes = span.pixels * layer.in_c;
    if (layer.in_c % 4 == 0) {  // pixels are whole quads: zeros, a run of pixels, zeros
      at = clear(at, span.before * layer.in_c / 4);
      sum += t2_expand<columns>(in, bytes, at);
      at = clear(at + 2 * columns * (bytes / 4), span.after * layer.in_c / 4);
      return;
    }
    uint32_t word = 0;
    const size_t before = span.before * layer.in_c;
    for (size_t i = 0; i < 4 * row_quads; ++i) {
      if (i >= before && i - before < bytes) word |= static_cast<uint32_t>(in[i - before]) << 24;
      if (i % 4 == 3) {
        at[0] = uxtb16(word);
        at[columns] = uxtb16_ror8(word);
        at += 2 * columns;
        sum = add_bytes(word, sum);
      }
      word >>= 8;
    }
  }

  const Conv2D& layer;
  size_t row_bytes, row_quads;
  uint32_t* at;
  uint32_t sum;
};

// The next `n` windows; `start` gets what each sum starts with.
TR_NOINLINE void expand(const Conv2D& layer, Windows& windows, size_t n, uint32_t* scratch,
                        int32_t* start) {
  for (size_t i = 0; i < columns; ++i) {
    Column column(layer, scratch + i);
    if (i < n) {
      windows.next(column);
    } else {  // fewer pixels are left than columns
      clear(column.at, column.row_quads * layer.kernel_h);
    }
    start[i] = -static_cast<int32_t>(column.sum);
  }
}

// All output channels of the expanded columns, the first `n` of which are output pixels.
template <Quick kind>
TR_NOINLINE void channels(const Conv2D& layer, const uint32_t* column, size_t quads,
                          const int32_t* start, size_t pixel, size_t n, const Buffers& at) {
  // Copies: stores of bytes could change the originals, for all C++ knows.
  const Requantize requantize = layer.requantize;
  const Buffers buffers = at;
  const size_t out_c = requantize.channels;
  const uint32_t* weights = layer.weights;
  size_t index = pixel * out_c;
  for (size_t o = 0; o < out_c; ++o, ++index) {
    int32_t acc[columns] = {start[0], start[1], start[2], start[3]};
    weights = t2_dot<columns>(weights, column, quads, acc);
#if TR_DSP
    if (kind != Quick::none) {
      finish_quick<kind, columns>(requantize, o, index, out_c, acc, buffers);
      continue;
    }
#endif
    finish(requantize, o, index, out_c, acc, n, buffers);
  }
}

// channels() the way that was decided for the layer.
TR_INLINE void tile(Quick kind, const Conv2D& layer, const uint32_t* column, size_t quads,
                    const int32_t* start, size_t pixel, size_t n, const Buffers& at) {
#if TR_DSP
  switch (kind) {
    case Quick::raw:
      return channels<Quick::raw>(layer, column, quads, start, pixel, n, at);
    case Quick::plain:
      return channels<Quick::plain>(layer, column, quads, start, pixel, n, at);
    case Quick::add8:
      return channels<Quick::add8>(layer, column, quads, start, pixel, n, at);
    case Quick::add16:
      return channels<Quick::add16>(layer, column, quads, start, pixel, n, at);
    case Quick::none:
      break;
  }
#endif
  static_cast<void>(kind);
  channels<Quick::none>(layer, column, quads, start, pixel, n, at);
}

}  // namespace

void conv2d_t2_u8(const Conv2D& layer, const Buffers& at) {
  uint32_t* column = reinterpret_cast<uint32_t*>(at.scratch);
  const size_t quads = Column(layer, column).row_quads * layer.kernel_h;
  const size_t pixels = static_cast<size_t>(layer.out_h) * layer.out_w;
  const Quick kind = quick(layer.requantize);
  Windows windows(layer, at.in);
  int32_t start[columns];
  for (size_t pixel = 0; pixel < pixels; pixel += columns) {
    const bool whole = pixels - pixel >= columns;
    const size_t n = whole ? columns : pixels - pixel;
    expand(layer, windows, n, column, start);
    tile(whole ? kind : Quick::none, layer, column, quads, start, pixel, n, at);
  }
}

}  // namespace tr
