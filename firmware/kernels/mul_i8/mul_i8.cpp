#include "kernels/mul_i8/mul_i8.hpp"

#include "runtime/int8_elementwise.hpp"

namespace tr {

void mul_i8(const BinaryI8& layer, const Buffers& at) {
  elementwise_i8(layer, at, [&layer](int32_t a, int32_t b) {
    const int32_t product = (a + layer.a.offset) * (b + layer.b.offset);
    const int32_t q = multiply_by_quantized(product, layer.multiplier, layer.shift);
    return clamp_i8(q + layer.zero_point, layer.lo, layer.hi);
  });
}

}  // namespace tr
