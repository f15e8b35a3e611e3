#include "kernels/dense_t2_u8/dense_t2_u8.hpp"

#include "runtime/fixed.hpp"
#include "runtime/t2.hpp"

namespace tr {

// The inputs become halfword pairs once (scratch, 2 bytes an input, padded to a quad), then every
// output is one pass over them.
void dense_t2_u8(const Dense& layer, const Buffers& at) {
  uint32_t* column = reinterpret_cast<uint32_t*>(at.scratch);
  const size_t quads = (layer.inputs + 3) / 4;
  const uint32_t sum = t2_expand<1>(at.in, layer.inputs, column);
  const uint32_t* weights = layer.weights;
  for (size_t o = 0; o < layer.requantize.channels; ++o) {
    int32_t acc[1] = {-static_cast<int32_t>(sum)};
    weights = t2_dot<1>(weights, column, quads, acc);
    finish(layer.requantize, o, o, 1, acc, 1, at);
  }
}

}  // namespace tr
