#include "kernels/global_average_pool_u8/global_average_pool_u8.hpp"

namespace tr {

void global_average_pool_u8(const GlobalAveragePool& layer, const Buffers& at) {
  for (uint32_t c = 0; c < layer.channels; ++c) {
    uint32_t total = layer.rounding;
    const uint8_t* in = at.in + c;
    for (uint32_t p = 0; p < layer.pixels; ++p, in += layer.channels) total += *in;
    at.out[c] = static_cast<uint8_t>(total / layer.pixels);
  }
}

}  // namespace tr
