#include "kernels/mul_i8/mul_i8.hpp"

#include "runtime/int8_elementwise.hpp"

namespace tr {

void mul_i8(const BinaryI8& layer, const Buffers& at) {
  elementwise_i8(layer, at, [&layer](int32_t a, int32_t b) {
    return finish_i8(layer, (a + layer.a.offset) * (b + layer.b.offset));
  });
}

}  // namespace tr
