#include "kernels/depthwise_conv2d_i8c_i8/depthwise_conv2d_i8c_i8.hpp"

#include "runtime/int8_strips.hpp"

namespace tr {

void depthwise_conv2d_i8c_i8(const Conv2DI8& layer, const Buffers& at) {
  Strips<1>(layer, at).run();
}

}  // namespace tr
