#include "kernels/conv2d_i4_i8/conv2d_i4_i8.hpp"

#include "runtime/int8_conv.hpp"

namespace tr {

void conv2d_i4_i8(const Conv2DI8& layer, const Buffers& at) {
  conv2d_portable<WeightsI4>(layer, at);
}

}  // namespace tr
