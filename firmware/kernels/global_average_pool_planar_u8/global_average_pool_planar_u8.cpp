#include "kernels/global_average_pool_planar_u8/global_average_pool_planar_u8.hpp"

#include "runtime/planar.hpp"

namespace tr {

// Lanes beyond the width hold zeros, so whole words are added up.
void global_average_pool_planar_u8(const GlobalAveragePool& layer, const Buffers& at) {
  const size_t lane = planar_lane_words(layer.width);
  const size_t row = layer.channels * (lane + 2);
  const uint32_t pixels = layer.pixels;
  const auto* word = reinterpret_cast<const uint32_t*>(at.in) + row + 1;
  for (size_t c = 0; c < layer.channels; ++c, word += lane + 2) {
    uint32_t total = layer.rounding;
    const uint32_t* first = word;
    for (size_t y = layer.height; y != 0; --y, first += row) {
      for (size_t x = 0; x < lane; ++x) total = add_bytes(first[x], total);
    }
    const uint32_t mean = total / pixels;
    // With half_even the rounding is pixels / 2: nothing is left over where the mean was a half.
    const bool tie = layer.half_even != 0 && pixels % 2 == 0 && total == mean * pixels;
    at.out[c] = static_cast<uint8_t>(tie ? mean & ~1u : mean);
  }
}

}  // namespace tr
