#include "kernels/pool2d_u8/pool2d_u8.hpp"

#include "runtime/dsp.hpp"

namespace tr {
namespace {

struct Window {
  size_t row;  // bytes from an input row to the next
  size_t channels, size_y, size_x;
  uint32_t area;
  uint32_t rounding;
  bool half_even;
};

// The average from a sum that holds the rounding. With half_even that is area / 2: the division
// leaves nothing exactly where the average was a half, and that goes to the even neighbour.
inline uint32_t mean(const Window& window, uint32_t total) {
  const uint32_t quotient = total / window.area;
  const bool tie = window.half_even && window.area % 2 == 0 && total == quotient * window.area;
  return tie ? quotient & ~1u : quotient;
}

// One channel of the window whose first pixel is at `in`.
template <Pooling kind>
inline uint8_t one(const Window& window, const uint8_t* in) {
  uint32_t value = kind == Pooling::average ? window.rounding : 0;
  for (size_t y = window.size_y; y != 0; --y, in += window.row) {
    const uint8_t* pixel = in;
    for (size_t x = window.size_x; x != 0; --x, pixel += window.channels) {
      if (kind == Pooling::average) {
        value += *pixel;
      } else if (*pixel > value) {
        value = *pixel;
      }
    }
  }
  return static_cast<uint8_t>(kind == Pooling::average ? mean(window, value) : value);
}

#if TR_DSP
// Four channels at once, the sums in halfwords: for at most 256 pixels and their rounding.
template <Pooling kind>
inline uint32_t four(const Window& window, const uint8_t* in) {
  uint32_t largest = 0;
  uint32_t even = window.rounding | window.rounding << 16;
  uint32_t odd = even;
  for (size_t y = window.size_y; y != 0; --y, in += window.row) {
    const uint8_t* pixel = in;
    for (size_t x = window.size_x; x != 0; --x, pixel += window.channels) {
      const uint32_t word = load4(pixel);
      if (kind == Pooling::average) {
        even = uxtab16(even, word);
        odd = uxtab16_ror8(odd, word);
      } else {
        largest = max_bytes(largest, word);
      }
    }
  }
  if (kind == Pooling::max) return largest;
  return mean(window, even & 0xffffu) | mean(window, odd & 0xffffu) << 8 |
         mean(window, even >> 16) << 16 | mean(window, odd >> 16) << 24;
}
#endif

template <Pooling kind>
void run(const Pool2D& layer, const Buffers& at) {
  const Window window = {static_cast<size_t>(layer.in_w) * layer.channels,
                         layer.channels,
                         layer.size_y,
                         layer.size_x,
                         static_cast<uint32_t>(layer.size_y) * layer.size_x,
                         layer.rounding,
                         layer.half_even};
  const size_t step = static_cast<size_t>(layer.stride_x) * layer.channels;
  uint8_t* out = at.out;
  for (size_t y = 0; y < layer.out_h; ++y) {
    const uint8_t* in = at.in + y * layer.stride_y * window.row;
    for (size_t x = 0; x < layer.out_w; ++x, in += step) {
      size_t c = 0;
#if TR_DSP
      if (window.area <= 256) {
        for (; c + 4 <= window.channels; c += 4) store4(out + c, four<kind>(window, in + c));
      }
#endif
      for (; c < window.channels; ++c) out[c] = one<kind>(window, in + c);
      out += window.channels;
    }
  }
}

}  // namespace

void pool2d_u8(const Pool2D& layer, const Buffers& at) {
  if (layer.kind == Pooling::average) {
    run<Pooling::average>(layer, at);
  } else {
    run<Pooling::max>(layer, at);
  }
}

}  // namespace tr
