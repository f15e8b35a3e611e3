#include "kernels/conv2d_i8p_i8/conv2d_i8p_i8.hpp"

#include "runtime/int8_pairs.hpp"

namespace tr {
namespace {

TR_INLINE size_t round_up4(size_t n) { return (n + 3) & ~static_cast<size_t>(3); }

// Where the outputs of tiles go: two pixels at a time, one above the other, from left to right.
// A pixel that does not exist is written to `spare`; so is one whose channels do not fill whole
// blocks, and then copied.
class Outputs {
 public:
  Outputs(const Conv2DI8& conv, const Buffers& buffers, size_t quads)
      : layer(conv.weights, conv.requantize, conv.out_c, quads),
        channels(conv.out_c),
        out(buffers.out),
        spare(buffers.scratch) {}

  static size_t spare_bytes(const Conv2DI8& conv) { return 2 * round_up4(conv.out_c); }

  // The tiles of a row start at pixel `first`, and `below` pixels after it if that is not 0.
  void row(size_t first, size_t below) {
    upper = out + first * channels;
    both = below != 0;
    lower = both ? upper + below * channels : spare;
    step = both ? channels : 0;
  }

  TR_INLINE void tile(const uint32_t* column) {
    if (channels % 4 == 0) {
      pairs_tile(layer, column, upper, lower);
    } else {
      ragged(layer, column, spare, channels, upper, both ? lower : nullptr);
    }
    upper += channels;
    lower += step;
  }

 private:
  // Whole blocks would run into the next pixel.
  static TR_NOINLINE void ragged(const PairsLayer& layer, const uint32_t* column, uint8_t* spare,
                                 size_t channels, uint8_t* upper, uint8_t* lower) {
    uint8_t* beside = spare + round_up4(channels);
    pairs_tile(layer, column, spare, beside);
    copy_pixel(upper, spare, channels);
    if (lower != nullptr) copy_pixel(lower, beside, channels);
  }

  static TR_NOINLINE void copy_pixel(uint8_t* to, const uint8_t* from, size_t n) {
    if (n >= 4) copy_words(to, from, n / 4);
    const uint8_t* end = from + n % 4;
    while (from != end) *to++ = *from++;
  }

  const PairsLayer layer;
  const size_t channels;
  uint8_t* const out;
  uint8_t* const spare;
  uint8_t* upper = nullptr;
  uint8_t* lower = nullptr;
  size_t step = 0;
  bool both = false;
};

// 1x1 without stride or padding: neighbours in memory are a tile.
void pointwise(const Conv2DI8& layer, const Buffers& at) {
  const size_t quads = layer.in_c / 4;
  Outputs outputs(layer, at, quads);
  uint32_t* column = reinterpret_cast<uint32_t*>(at.scratch + Outputs::spare_bytes(layer));
  const size_t pixels = static_cast<size_t>(layer.out_h) * layer.out_w;
  const uint8_t* in = at.in;
  for (size_t i = 0; i < pixels; i += 2, in += 2 * layer.in_c) {
    const bool both = i + 1 < pixels;
    pairs_expand(column, in, both ? in + layer.in_c : in, quads);
    outputs.row(i, both ? 1 : 0);
    outputs.tile(column);
  }
}

// Pixels of whole quads: the windows' columns lie one after the other in a buffer, so that the next
// tile needs only those that are new; when the buffer is full, the last ones move to its start.
class Sliding {
 public:
  Sliding(const Conv2DI8& conv, const Buffers& buffers)
      : layer(conv),
        in(buffers.in),
        quads(conv.in_c / 4),
        column_words(pairs_quad_words * quads * conv.kernel_h),
        row_bytes(static_cast<size_t>(conv.in_w) * conv.in_c),
        outputs(conv, buffers, quads * conv.kernel_h * conv.kernel_w) {
    const bool reuse = conv.dilation_x == 1 && conv.stride_x < conv.kernel_w;
    fresh = reuse ? conv.stride_x : conv.kernel_w;
    const uint8_t zero = static_cast<uint8_t>(-conv.input_offset);
    blank = buffers.scratch + Outputs::spare_bytes(conv);
    for (size_t i = 0; i < conv.in_c; ++i) blank[i] = zero;
    start = reinterpret_cast<uint32_t*>(blank + conv.in_c);
    end = start + column_words * conv.kernel_w * (reuse ? 2 : 1);
  }

  void run() {
    for (size_t y = 0; y < layer.out_h; y += 2) {
      const int32_t last = (layer.kernel_h - 1) * layer.dilation_y + layer.stride_y;
      y0 = static_cast<int32_t>(y * layer.stride_y) - layer.pad_top;
      inside = y0 >= 0 && y0 + last < layer.in_h;
      outputs.row(y * layer.out_w, y + 1 < layer.out_h ? layer.out_w : 0u);
      int32_t window_x = -layer.pad_left;
      int32_t x = window_x;  // of the next column
      uint32_t* window = start;
      uint32_t* next = start;
      uint32_t due = layer.kernel_w;  // columns that the next tile still needs
      for (uint32_t left = layer.out_w; left != 0; --left, window_x += layer.stride_x) {
        if (next + due * column_words > end) {
          next = move(window, next);
          window = start;
        }
        if (fresh == layer.kernel_w) x = window_x;
        for (; due != 0; --due, x += layer.dilation_x) next = expand(next, x);
        outputs.tile(window);
        due = fresh;
        window += due * column_words;
      }
    }
  }

 private:
  // What the windows at both pixels have in column x of the input.
  TR_INLINE uint32_t* expand(uint32_t* to, int32_t x) const {
    if (!inside || static_cast<uint32_t>(x) >= layer.in_w) return expand_border(to, x);
    const uint8_t* p = pixel(y0, x);
    const size_t down = row_bytes * layer.dilation_y, below = row_bytes * layer.stride_y;
    for (uint32_t i = layer.kernel_h; i != 0; --i, p += down) {
      to = pairs_expand(to, p, p + below, quads);
    }
    return to;
  }

  TR_NOINLINE uint32_t* expand_border(uint32_t* to, int32_t x) const {
    for (uint32_t i = 0; i < layer.kernel_h; ++i) {
      const int32_t y = y0 + static_cast<int32_t>(i * layer.dilation_y);
      to = pairs_expand(to, pixel_or_blank(y, x), pixel_or_blank(y + layer.stride_y, x), quads);
    }
    return to;
  }

  const uint8_t* pixel_or_blank(int32_t y, int32_t x) const {
    const bool there = y >= 0 && y < layer.in_h && x >= 0 && x < layer.in_w;
    return there ? pixel(y, x) : blank;
  }

  TR_INLINE const uint8_t* pixel(int32_t y, int32_t x) const {
    return in + static_cast<size_t>(y) * row_bytes + static_cast<size_t>(x) * layer.in_c;
  }

  // The words from..to to the start of the buffer; returns where they end there.
  uint32_t* move(const uint32_t* from, const uint32_t* to) const {
    uint32_t* d = start;
    while (from != to) d = pairs_move4(d, from);
    return d;
  }

  const Conv2DI8& layer;
  const uint8_t* const in;
  const size_t quads;         // of a pixel
  const size_t column_words;  // of one column of the windows
  const size_t row_bytes;
  Outputs outputs;
  uint8_t* blank;  // a pixel of the input's zero point
  uint32_t fresh;  // columns that a tile does not share with the one before
  uint32_t* start;
  const uint32_t* end;
  int32_t y0 = 0;       // row of the input where the upper window starts
  bool inside = false;  // no row of either window is padding
};

// Any number of channels: the rows of the input that both windows need, one after the other as
// bytes; the lower window starts `stride_y` rows further down. What fills up their last quads is
// multiplied by zeros.
class Gathered {
 public:
  Gathered(const Conv2DI8& conv, const Buffers& buffers)
      : layer(conv),
        in(buffers.in),
        bytes(buffers.scratch + Outputs::spare_bytes(conv)),
        row_bytes(static_cast<size_t>(conv.in_w) * conv.in_c),
        run_bytes(static_cast<size_t>(conv.kernel_w) * conv.in_c),
        quads((run_bytes * conv.kernel_h + 3) / 4),
        apart(conv.dilation_y == 1 ? run_bytes * conv.stride_y : run_bytes * conv.kernel_h),
        outputs(conv, buffers, quads) {}

  void run() {
    const size_t gathered = round_up4(run_bytes * layer.kernel_h + apart + 3);
    for (size_t i = 0; i < gathered; ++i) bytes[i] = 0;
    uint32_t* column = reinterpret_cast<uint32_t*>(bytes + gathered);
    const bool shared = layer.dilation_y == 1;
    const uint32_t rows = shared ? layer.kernel_h + layer.stride_y : layer.kernel_h;
    for (size_t y = 0; y < layer.out_h; y += 2) {
      const int32_t y0 = static_cast<int32_t>(y * layer.stride_y) - layer.pad_top;
      int32_t x0 = -layer.pad_left;
      outputs.row(y * layer.out_w, y + 1 < layer.out_h ? layer.out_w : 0u);
      for (uint32_t left = layer.out_w; left != 0; --left, x0 += layer.stride_x) {
        gather(bytes, y0, x0, rows);
        if (!shared) gather(bytes + apart, y0 + layer.stride_y, x0, rows);
        pairs_expand(column, bytes, bytes + apart, quads);
        outputs.tile(column);
      }
    }
  }

 private:
  // `rows` runs of kernel_w pixels, from row y and column x0 on. Runs are copied word by word: what
  // is too much belongs to the input still, and is overwritten by the next run.
  TR_NOINLINE void gather(uint8_t* to, int32_t y, int32_t x0, uint32_t rows) const {
    const int32_t end_y = y + static_cast<int32_t>((rows - 1) * layer.dilation_y + 1);
    const int32_t end_x = x0 + layer.kernel_w;
    const bool whole = y >= 0 && x0 >= 0 && layer.dilation_x == 1;
    if (!whole || end_x > layer.in_w || end_y > layer.in_h ||
        (end_y == layer.in_h && end_x == layer.in_w) || !overruns()) {
      for (; rows != 0; --rows, y += layer.dilation_y, to += run_bytes) border(to, y, x0);
      return;
    }
    const uint8_t* from = pixel(y, x0);
    const size_t words = (run_bytes + 3) / 4;
    const size_t over = 4 * words - run_bytes, down = row_bytes * layer.dilation_y - run_bytes;
    for (; rows != 0; --rows, from += down - over, to -= over) copy_words(to, from, words);
  }

  // True where up to three bytes after a run that does not end the input are inside it.
  bool overruns() const { return layer.in_c * layer.in_w >= 3 || run_bytes % 4 == 0; }

  TR_NOINLINE void border(uint8_t* to, int32_t y, int32_t x) const {
    const uint8_t zero = static_cast<uint8_t>(-layer.input_offset);
    const size_t channels = layer.in_c;
    const int32_t width = y >= 0 && y < layer.in_h ? layer.in_w : 0, step = layer.dilation_x;
    for (uint32_t i = layer.kernel_w; i != 0; --i, x += step) {
      const uint8_t* end = to + channels;
      if (x >= 0 && x < width) {
        for (const uint8_t* from = pixel(y, x); to != end;) *to++ = *from++;
      } else {
        while (to != end) *to++ = zero;
      }
    }
  }

  TR_INLINE const uint8_t* pixel(int32_t y, int32_t x) const {
    return in + static_cast<size_t>(y) * row_bytes + static_cast<size_t>(x) * layer.in_c;
  }

  const Conv2DI8& layer;
  const uint8_t* const in;
  uint8_t* const bytes;
  const size_t row_bytes;
  const size_t run_bytes;  // of one kernel row
  const size_t quads;      // of a window
  const size_t apart;      // bytes between the starts of both windows
  Outputs outputs;
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
