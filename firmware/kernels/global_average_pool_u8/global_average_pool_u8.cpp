#include "kernels/global_average_pool_u8/global_average_pool_u8.hpp"

#include "runtime/dsp.hpp"

namespace tr {
namespace {

// The mean from a sum that holds the rounding. With half_even the rounding is pixels / 2: the
// division leaves nothing exactly where the mean was a half, and that goes to the even neighbour.
inline uint32_t mean(const GlobalAveragePool& layer, uint32_t total) {
  const uint32_t quotient = total / layer.pixels;
  const bool tie =
      layer.half_even != 0 && layer.pixels % 2 == 0 && total == quotient * layer.pixels;
  return tie ? quotient & ~1u : quotient;
}

}  // namespace

void global_average_pool_u8(const GlobalAveragePool& layer, const Buffers& at) {
  const size_t channels = layer.channels;
  const uint32_t pixels = layer.pixels;
  const uint8_t* in = at.in;
  uint8_t* out = at.out;
  size_t c = 0;
#if TR_DSP
  if (pixels <= 256) {  // four channels at once; 256 * 255 and the rounding fit a halfword
    for (; c + 4 <= channels; c += 4) {
      uint32_t even = layer.rounding | layer.rounding << 16;
      uint32_t odd = even;
      const uint8_t* pixel = in + c;
      for (uint32_t p = pixels; p != 0; --p, pixel += channels) {
        const uint32_t word = load4(pixel);
        even = uxtab16(even, word);
        odd = uxtab16_ror8(odd, word);
      }
      store4(out + c, mean(layer, even & 0xffffu) | mean(layer, odd & 0xffffu) << 8 |
                          mean(layer, even >> 16) << 16 | mean(layer, odd >> 16) << 24);
    }
  }
#endif
  for (; c < channels; ++c) {
    uint32_t total = layer.rounding;
    const uint8_t* pixel = in + c;
    for (uint32_t p = pixels; p != 0; --p, pixel += channels) total += *pixel;
    out[c] = static_cast<uint8_t>(mean(layer, total));
  }
}

}  // namespace tr
