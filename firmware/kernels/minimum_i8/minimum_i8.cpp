#include "kernels/minimum_i8/minimum_i8.hpp"

#include "runtime/int8_elementwise.hpp"

namespace tr {

void minimum_i8(const BinaryI8& layer, const Buffers& at) {
  elementwise_i8(layer, at, [](int8_t a, int8_t b) { return a < b ? a : b; });
}

}  // namespace tr
