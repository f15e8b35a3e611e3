#include "kernels/dense_i8p_i8/dense_i8p_i8.hpp"

#include "runtime/int8_pairs_row.hpp"

namespace tr {

void dense_i8p_i8(const DenseI8& layer, const Buffers& at) {
  const size_t quads = (layer.inputs + 3) / 4;
  const PairsLayer pairs(layer.weights, layer.requantize, layer.outputs, quads);
  uint32_t* vector = reinterpret_cast<uint32_t*>(at.scratch);
  uint8_t* spare = at.scratch + 8 * quads;  // whole blocks, where a row does not end with one
  const bool whole = layer.outputs % 4 == 0;
  const uint8_t* in = at.in;
  uint8_t* out = at.out;
  for (uint32_t row = layer.rows; row != 0; --row, in += layer.inputs, out += layer.outputs) {
    pairs_expand_row(vector, in, layer.inputs);
    pairs_row(pairs, vector, whole ? out : spare);
    for (size_t i = 0; !whole && i < layer.outputs; ++i) out[i] = spare[i];
  }
}

}  // namespace tr
