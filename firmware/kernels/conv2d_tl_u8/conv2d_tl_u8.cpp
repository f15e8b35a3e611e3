#include "kernels/conv2d_tl_u8/conv2d_tl_u8.hpp"

#include "runtime/fixed.hpp"
#include "runtime/lists.hpp"
#include "runtime/windows.hpp"

namespace tr {
namespace {

// A window as one lane: every tap's byte, `lanes` bytes apart.
struct Lane {
  Lane(const Conv2D& conv, uint8_t* first) : layer(conv), at(first) {
    row_bytes = static_cast<size_t>(conv.kernel_w) * conv.in_c;
  }

  TR_INLINE void inside(const uint8_t* first) { at = lists_spread(first, row_bytes, at); }

  void outside() { clear(row_bytes); }

  void edge(const uint8_t* row, int32_t x0) {
    const Span span(layer, x0);
    clear(span.before * layer.in_c);
    at = lists_spread(row + span.first * layer.in_c, span.pixels * layer.in_c, at);
    clear(span.after * layer.in_c);
  }

  void clear(size_t count) {
    for (; count != 0; --count, at += lanes) *at = 0;
  }

  const Conv2D& layer;
  size_t row_bytes;
  uint8_t* at;
};

// The next `n` windows, and the tap of zeros after the last one. Lanes without a pixel keep what
// they had; nobody looks at their sums.
TR_NOINLINE void expand(const Conv2D& layer, Windows& windows, size_t n, uint8_t* taps) {
  for (size_t i = 0; i < n; ++i) {
    Lane lane(layer, taps + i);
    windows.next(lane);
    *lane.at = 0;
  }
}

// All output channels of the tile, of which the first `n` pixels exist.
template <Quick kind>
TR_NOINLINE void channels(const Conv2D& layer, const uint8_t* taps, size_t pixel, size_t n,
                          const Buffers& at) {
  const size_t out_c = layer.requantize.channels;
  const uint32_t* weights = layer.weights;
  size_t index = pixel * out_c;
  for (size_t o = 0; o < out_c; ++o, ++index) {
    int32_t acc[lanes];
    lists_dot(weights, taps, acc);
#if TR_DSP
    if (kind != Quick::none) {
      finish_quick<kind, lanes>(layer.requantize, o, index, out_c, acc, at);
      continue;
    }
#endif
    finish(layer.requantize, o, index, out_c, acc, n, at);
  }
}

// channels() the way that was decided for the layer.
TR_INLINE void tile(Quick kind, const Conv2D& layer, const uint8_t* taps, size_t pixel, size_t n,
                    const Buffers& at) {
#if TR_DSP
  switch (kind) {
    case Quick::raw:
      return channels<Quick::raw>(layer, taps, pixel, n, at);
    case Quick::plain:
      return channels<Quick::plain>(layer, taps, pixel, n, at);
    case Quick::add8:
      return channels<Quick::add8>(layer, taps, pixel, n, at);
    case Quick::add16:
      return channels<Quick::add16>(layer, taps, pixel, n, at);
    case Quick::none:
      break;
  }
#endif
  static_cast<void>(kind);
  channels<Quick::none>(layer, taps, pixel, n, at);
}

}  // namespace

void conv2d_tl_u8(const Conv2D& layer, const Buffers& at) {
  const size_t pixels = static_cast<size_t>(layer.out_h) * layer.out_w;
  const Quick kind = quick(layer.requantize);
  Windows windows(layer, at.in);
  for (size_t pixel = 0; pixel < pixels; pixel += lanes) {
    const bool whole = pixels - pixel >= lanes;
    const size_t n = whole ? lanes : pixels - pixel;
    expand(layer, windows, n, at.scratch);
    tile(whole ? kind : Quick::none, layer, at.scratch, pixel, n, at);
  }
}

}  // namespace tr
