#include "kernels/concat_i8/concat_i8.hpp"

#include "runtime/int8_copy.hpp"

namespace tr {

void concat_i8(const ConcatI8& layer, const Buffers& at) {
  uint8_t* out = at.out;
  for (uint32_t row = 0; row < layer.outer; ++row) {
    for (uint32_t i = 0; i < layer.inputs; ++i) {
      const size_t bytes = layer.bytes[i];
      out = copy_bytes(at.inputs[i] + row * bytes, out, bytes);
    }
  }
}

}  // namespace tr
