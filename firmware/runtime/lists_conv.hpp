// The body of the list convolutions: eight output pixels at a time in lanes (lists.hpp), the sums
// of all their channels, `group` channels sharing theirs, then what becomes of the sums.
#ifndef TR_RUNTIME_LISTS_CONV_HPP
#define TR_RUNTIME_LISTS_CONV_HPP

#include "runtime/fixed.hpp"
#include "runtime/lists.hpp"
#include "runtime/windows.hpp"

namespace tr {

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
inline TR_NOINLINE void expand_lanes(const Conv2D& layer, Windows& windows, size_t n,
                                     uint8_t* taps) {
  for (size_t i = 0; i < n; ++i) {
    Lane lane(layer, taps + i);
    windows.next(lane);
    *lane.at = 0;
  }
}

// What is left to do with the sums of a tile, of which the first `n` pixels exist.
template <Quick kind>
inline TR_NOINLINE void finish_lanes(const Requantize& r, const Sums* sums, size_t pixel, size_t n,
                                     const Buffers& at) {
  const size_t out_c = r.channels;
  size_t index = pixel * out_c;
  for (size_t o = 0; o < out_c; ++o, ++index) {
    int32_t acc[lanes];
    lists_unpack(sums[o], acc);
#if TR_DSP
    if (kind != Quick::none) {
      finish_quick<kind, lanes>(r, o, index, out_c, acc, at);
      continue;
    }
#endif
    finish(r, o, index, out_c, acc, n, at);
  }
}

// finish_lanes() the way that was decided for the layer.
TR_INLINE void finish_tile(Quick kind, const Requantize& r, const Sums* sums, size_t pixel,
                           size_t n, const Buffers& at) {
#if TR_DSP
  switch (kind) {
    case Quick::raw:
      return finish_lanes<Quick::raw>(r, sums, pixel, n, at);
    case Quick::plain:
      return finish_lanes<Quick::plain>(r, sums, pixel, n, at);
    case Quick::add8:
      return finish_lanes<Quick::add8>(r, sums, pixel, n, at);
    case Quick::add16:
      return finish_lanes<Quick::add16>(r, sums, pixel, n, at);
    case Quick::none:
      break;
  }
#endif
  static_cast<void>(kind);
  finish_lanes<Quick::none>(r, sums, pixel, n, at);
}

// Scratch: the sums of all channels, then the taps.
template <size_t group>
TR_INLINE void conv2d_lists(const Conv2D& layer, const Buffers& at) {
  const size_t pixels = static_cast<size_t>(layer.out_h) * layer.out_w;
  const size_t out_c = layer.requantize.channels;
  const Quick kind = quick(layer.requantize);
  Sums* sums = reinterpret_cast<Sums*>(at.scratch);
  uint8_t* taps = at.scratch + out_c * sizeof(Sums);
  Windows windows(layer, at.in);
  for (size_t pixel = 0; pixel < pixels; pixel += lanes) {
    const bool whole = pixels - pixel >= lanes;
    const size_t n = whole ? lanes : pixels - pixel;
    expand_lanes(layer, windows, n, taps);
    lists_sums<group>(layer.weights, taps, out_c, sums);
    finish_tile(whole ? kind : Quick::none, layer.requantize, sums, pixel, n, at);
  }
}

}  // namespace tr

#endif
