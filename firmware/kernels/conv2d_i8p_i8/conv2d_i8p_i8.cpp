#include "kernels/conv2d_i8p_i8/conv2d_i8p_i8.hpp"

#include "runtime/int8_pairs.hpp"

namespace tr {
namespace {

TR_INLINE size_t round_up4(size_t n) { return (n + 3) & ~static_cast<size_t>(3); }

// The windows of two output pixels, one above the other (or side by side, in a convolution of
// 1x1), become one column of quads; tile after tile, from left to right.
//
// Scratch: `blank`, one pixel (or kernel row) of the input's zero point; `spare`, where outputs go
// that are no pixels; then what the kind of window needs.
class Tiles {
 public:
  Tiles(const Conv2DI8& conv, const Buffers& buffers, size_t quads, size_t blank_bytes)
      : layer(conv), finish(conv.requantize, conv.out_c, quads), at(buffers) {
    blank = buffers.scratch;
    spare = blank + blank_bytes;
    free = spare + 2 * round_up4(conv.out_c);
    const uint8_t zero = static_cast<uint8_t>(-conv.input_offset);
    for (size_t i = 0; i < blank_bytes; ++i) blank[i] = zero;
  }

  // Compute the pixels `first` and `second` of the output (the latter if it exists).
  TR_INLINE void compute(const uint32_t* column, size_t first, size_t second, bool both) {
    const uint32_t* weights = static_cast<const uint32_t*>(layer.weights);
    const size_t channels = layer.out_c;
    uint8_t* a = at.out + first * channels;
    uint8_t* b = at.out + second * channels;
    if (channels % 4 == 0) {
      pairs_tile(finish, weights, column, a, both ? b : spare);
      return;
    }
    uint8_t* beside = spare + round_up4(channels);  // whole blocks would run into the next pixel
    pairs_tile(finish, weights, column, spare, beside);
    for (size_t c = 0; c < channels; ++c) a[c] = spare[c];
    if (!both) return;
    for (size_t c = 0; c < channels; ++c) b[c] = beside[c];
  }

  const Conv2DI8& layer;
  const PairsFinish finish;
  const Buffers at;
  uint8_t* blank;
  uint8_t* spare;
  uint8_t* free;
};

// 1x1 without stride or padding: neighbours in memory.
void pointwise(const Conv2DI8& layer, const Buffers& at) {
  const size_t quads = layer.in_c / 4;
  Tiles tiles(layer, at, quads, 0);
  uint32_t* column = reinterpret_cast<uint32_t*>(tiles.free);
  const size_t pixels = static_cast<size_t>(layer.out_h) * layer.out_w;
  const uint8_t* in = at.in;
  for (size_t i = 0; i < pixels; i += 2, in += 2 * layer.in_c) {
    const bool both = i + 1 < pixels;
    pairs_expand(column, in, both ? in + layer.in_c : in, quads);
    tiles.compute(column, i, i + 1, both);
  }
}

// Pixels of whole quads: the kernel's columns lie one after the other in a buffer, so that the next
// tile needs only those that are new; when the buffer is full, the last ones move to its start.
class Sliding {
 public:
  Sliding(const Conv2DI8& conv, const Buffers& buffers)
      : layer(conv),
        quads(conv.in_c / 4),
        column_words(pairs_quad_words * quads * conv.kernel_h),
        row_bytes(static_cast<size_t>(conv.in_w) * conv.in_c),
        tiles(conv, buffers, quads * conv.kernel_h * conv.kernel_w, conv.in_c) {
    const bool reuse = conv.dilation_x == 1 && conv.stride_x < conv.kernel_w;
    fresh = reuse ? conv.stride_x : conv.kernel_w;
    start = reinterpret_cast<uint32_t*>(tiles.free);
    end = start + column_words * conv.kernel_w * (reuse ? 2 : 1);
  }

  void run() {
    for (size_t y = 0; y < layer.out_h; y += 2) {
      y0 = static_cast<int32_t>(y * layer.stride_y) - layer.pad_top;
      const int32_t lowest = y0 + layer.stride_y + (layer.kernel_h - 1) * layer.dilation_y;
      inside = y0 >= 0 && lowest < layer.in_h;
      int32_t x = -layer.pad_left;  // of the next column
      uint32_t* window = start;
      uint32_t* next = start;
      for (uint32_t i = fresh; i < layer.kernel_w; ++i) {
        next = expand(next, x);
        x += layer.dilation_x;
      }
      const size_t first = y * layer.out_w;
      const bool both = y + 1 < layer.out_h;
      for (size_t pixel = first; pixel < first + layer.out_w; ++pixel) {
        if (next + fresh * column_words > end) {
          next = move(window, next);
          window = start;
        }
        if (fresh == layer.kernel_w) {
          x = static_cast<int32_t>((pixel - first) * layer.stride_x) - layer.pad_left;
        }
        for (uint32_t i = 0; i < fresh; ++i) {
          next = expand(next, x);
          x += layer.dilation_x;
        }
        tiles.compute(window, pixel, pixel + layer.out_w, both);
        window += fresh * column_words;
      }
    }
  }

 private:
  // What the windows at both pixels have in column x of the input.
  TR_INLINE uint32_t* expand(uint32_t* to, int32_t x) const {
    if (inside && static_cast<uint32_t>(x) < layer.in_w) {
      const uint8_t* p =
          tiles.at.in + static_cast<size_t>(y0) * row_bytes + static_cast<size_t>(x) * layer.in_c;
      const size_t step = row_bytes * layer.dilation_y, below = row_bytes * layer.stride_y;
      for (uint32_t i = layer.kernel_h; i != 0; --i, p += step) {
        to = pairs_expand(to, p, p + below, quads);
      }
      return to;
    }
    return expand_border(to, x);
  }

  TR_NOINLINE uint32_t* expand_border(uint32_t* to, int32_t x) const {
    for (uint32_t i = 0; i < layer.kernel_h; ++i) {
      const int32_t y = y0 + static_cast<int32_t>(i * layer.dilation_y);
      to = pairs_expand(to, pixel_at(y, x), pixel_at(y + layer.stride_y, x), quads);
    }
    return to;
  }

  const uint8_t* pixel_at(int32_t y, int32_t x) const {
    if (y < 0 || y >= layer.in_h || x < 0 || x >= layer.in_w) return tiles.blank;
    return tiles.at.in + static_cast<size_t>(y) * row_bytes + static_cast<size_t>(x) * layer.in_c;
  }

  // The words from..to to the start of the buffer; returns where they end there.
  uint32_t* move(const uint32_t* from, const uint32_t* to) const {
    uint32_t* d = start;
    for (; from != to; from += 4, d += 4) {
      const uint32_t a = from[0], b = from[1], c = from[2], e = from[3];
      d[0] = a, d[1] = b, d[2] = c, d[3] = e;
    }
    return d;
  }

  const Conv2DI8& layer;
  const size_t quads;         // of a pixel
  const size_t column_words;  // of one column of the kernel
  const size_t row_bytes;
  Tiles tiles;
  uint32_t fresh;  // columns that a tile does not share with the one before
  uint32_t* start;
  const uint32_t* end;
  int32_t y0 = 0;       // row of the input where the upper window starts
  bool inside = false;  // no row of either window is padding
};

// Any number of channels: both windows are gathered as bytes, kernel rows one after the other, and
// padded to whole quads.
class Gathered {
 public:
  Gathered(const Conv2DI8& conv, const Buffers& buffers)
      : layer(conv),
        run_bytes(static_cast<size_t>(conv.kernel_w) * conv.in_c),
        window_bytes(round_up4(run_bytes * conv.kernel_h)),
        tiles(conv, buffers, window_bytes / 4, 0) {}

  void run() {
    uint8_t* a = tiles.free;
    uint8_t* b = a + window_bytes;
    for (size_t i = 0; i < 2 * window_bytes; ++i) a[i] = 0;  // what fills the last quads
    uint32_t* column = reinterpret_cast<uint32_t*>(b + window_bytes);
    for (size_t y = 0; y < layer.out_h; y += 2) {
      const int32_t y0 = static_cast<int32_t>(y * layer.stride_y) - layer.pad_top;
      int32_t x0 = -layer.pad_left;
      const size_t first = y * layer.out_w;
      for (size_t pixel = first; pixel < first + layer.out_w; ++pixel, x0 += layer.stride_x) {
        gather(a, y0, x0);
        gather(b, y0 + layer.stride_y, x0);
        pairs_expand(column, a, b, window_bytes / 4);
        tiles.compute(column, pixel, pixel + layer.out_w, y + 1 < layer.out_h);
      }
    }
  }

 private:
  TR_NOINLINE void gather(uint8_t* to, int32_t y, int32_t x0) const {
    const size_t row_bytes = static_cast<size_t>(layer.in_w) * layer.in_c;
    const int32_t end = x0 + layer.kernel_w;
    const bool whole = x0 >= 0 && end <= layer.in_w && layer.dilation_x == 1;
    const uint8_t zero = static_cast<uint8_t>(-layer.input_offset);
    for (uint32_t i = layer.kernel_h; i != 0; --i, y += layer.dilation_y, to += run_bytes) {
      if (y < 0 || y >= layer.in_h) {
        for (size_t k = 0; k < run_bytes; ++k) to[k] = zero;
        continue;
      }
      const uint8_t* row = tiles.at.in + static_cast<size_t>(y) * row_bytes;
      if (whole) {
        copy(to, row + static_cast<size_t>(x0) * layer.in_c);
      } else {
        edge(to, row, x0);
      }
    }
  }

  TR_INLINE void copy(uint8_t* to, const uint8_t* from) const {
    size_t n = run_bytes;
    for (; n >= 4; n -= 4, to += 4, from += 4) store4(to, load4(from));
    for (; n != 0; --n) *to++ = *from++;
  }

  TR_NOINLINE void edge(uint8_t* to, const uint8_t* row, int32_t x) const {
    const uint8_t zero = static_cast<uint8_t>(-layer.input_offset);
    for (uint32_t i = layer.kernel_w; i != 0; --i, x += layer.dilation_x) {
      const bool inside = x >= 0 && x < layer.in_w;
      const uint8_t* pixel = row + static_cast<size_t>(inside ? x : 0) * layer.in_c;
      for (size_t c = 0; c < layer.in_c; ++c) *to++ = inside ? pixel[c] : zero;
    }
  }

  const Conv2DI8& layer;
  const size_t run_bytes;  // of one kernel row
  const size_t window_bytes;
  Tiles tiles;
};

}  // namespace

void conv2d_i8p_i8(const Conv2DI8& layer, const Buffers& at) {
  if (layer.in_c % 4 != 0) {
    Gathered(layer, at).run();
  } else if (layer.kernel_h * layer.kernel_w == 1 && layer.in_w == layer.out_w &&
             layer.in_h == layer.out_h) {
    pointwise(layer, at);
  } else {
    Sliding(layer, at).run();
  }
}

}  // namespace tr
