#include "kernels/mul_i8/mul_i8.hpp"

#include "runtime/int8_elementwise.hpp"

namespace tr {

void mul_i8(const BinaryI8& layer, const Buffers& at) {
  const int32_t a = layer.a.offset;
  const int32_t b = layer.b.offset;
  const ResultI8 result(layer);
  elementwise_i8(layer, at, [=](int32_t x, int32_t y) { return result((x + a) * (y + b)); });
}

}  // namespace tr
