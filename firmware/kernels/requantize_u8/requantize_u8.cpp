#include "kernels/requantize_u8/requantize_u8.hpp"

#include "runtime/fixed.hpp"

namespace tr {

// Elements in order, each read before it is written: the output may lie over either input as long
// as its elements are no larger.
void requantize_u8(const RequantizeAlone& layer, const Buffers& at) {
  const Requantize& r = layer.requantize;
  size_t index = 0;
  for (uint32_t p = 0; p < layer.pixels; ++p) {
    for (size_t c = 0; c < r.channels; ++c, ++index) {
      const int32_t acc = load(r.in, at.in, index);
      finish(r, c, index, 1, &acc, 1, at);
    }
  }
}

}  // namespace tr
