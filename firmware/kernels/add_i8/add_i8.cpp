#include "kernels/add_i8/add_i8.hpp"

#include "runtime/int8_elementwise.hpp"

namespace tr {

void add_i8(const BinaryI8& layer, const Buffers& at) {
  const CommonScaleI8 a(layer.a);
  const CommonScaleI8 b(layer.b);
  const ResultI8 result(layer);
  elementwise_i8(layer, at, [=](int32_t x, int32_t y) { return result(a(x) + b(y)); });
}

}  // namespace tr
