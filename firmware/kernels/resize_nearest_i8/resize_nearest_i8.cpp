#include "kernels/resize_nearest_i8/resize_nearest_i8.hpp"

#include "runtime/int8_copy.hpp"

namespace tr {

void resize_nearest_i8(const ResizeI8& layer, const Buffers& at) {
  const size_t row = static_cast<size_t>(layer.in_w) * layer.channels;
  uint8_t* out = at.out;
  for (uint32_t y = 0; y < layer.out_h; ++y) {
    const uint8_t* in = at.in + static_cast<size_t>(layer.rows[y]) * row;
    for (uint32_t x = 0; x < layer.out_w; ++x) {
      const size_t pixel = static_cast<size_t>(layer.columns[x]) * layer.channels;
      out = copy_bytes(in + pixel, out, layer.channels);
    }
  }
}

}  // namespace tr
