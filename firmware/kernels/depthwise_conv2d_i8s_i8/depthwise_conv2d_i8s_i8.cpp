#include "kernels/depthwise_conv2d_i8s_i8/depthwise_conv2d_i8s_i8.hpp"

#include "runtime/int8_strips.hpp"

namespace tr {

void depthwise_conv2d_i8s_i8(const Conv2DI8& layer, const Buffers& at) {
  if (layer.stride_y == 1) {
    Strips<1>(layer, at).run();
  } else {
    Strips<2>(layer, at).run();
  }
}

}  // namespace tr
