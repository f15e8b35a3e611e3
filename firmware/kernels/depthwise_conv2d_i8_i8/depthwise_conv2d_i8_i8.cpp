#include "kernels/depthwise_conv2d_i8_i8/depthwise_conv2d_i8_i8.hpp"

#include "runtime/int8_conv.hpp"

namespace tr {

void depthwise_conv2d_i8_i8(const Conv2DI8& layer, const Buffers& at) {
  depthwise_conv2d_portable(layer, at);
}

}  // namespace tr
