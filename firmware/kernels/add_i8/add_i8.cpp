#include "kernels/add_i8/add_i8.hpp"

#include "runtime/int8_elementwise.hpp"

namespace tr {

void add_i8(const BinaryI8& layer, const Buffers& at) {
  elementwise_i8(layer, at, [&layer](int32_t a, int32_t b) {
    return finish_i8(layer, common_scale_i8(layer.a, a) + common_scale_i8(layer.b, b));
  });
}

}  // namespace tr
