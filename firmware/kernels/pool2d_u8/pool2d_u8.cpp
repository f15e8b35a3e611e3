#include "kernels/pool2d_u8/pool2d_u8.hpp"

namespace tr {
namespace {

// One output pixel: all channels of the window whose first pixel is `in`.
template <Pooling kind>
void window(const Pool2D& layer, const uint8_t* in, uint8_t* out) {
  const size_t row = static_cast<size_t>(layer.in_w) * layer.channels;
  const uint32_t area = static_cast<uint32_t>(layer.size_y) * layer.size_x;
  for (size_t c = 0; c < layer.channels; ++c) {
    uint32_t value = 0;
    for (size_t y = 0; y < layer.size_y; ++y) {
      const uint8_t* pixel = in + y * row + c;
      for (size_t x = 0; x < layer.size_x; ++x, pixel += layer.channels) {
        if (kind == Pooling::average) {
          value += *pixel;
        } else if (*pixel > value) {
          value = *pixel;
        }
      }
    }
    out[c] = static_cast<uint8_t>(kind == Pooling::average ? value / area : value);
  }
}

template <Pooling kind>
void run(const Pool2D& layer, const Buffers& at) {
  uint8_t* out = at.out;
  for (size_t y = 0; y < layer.out_h; ++y) {
    for (size_t x = 0; x < layer.out_w; ++x, out += layer.channels) {
      const size_t pixel = y * layer.stride_y * layer.in_w + x * layer.stride_x;
      window<kind>(layer, at.in + pixel * layer.channels, out);
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
