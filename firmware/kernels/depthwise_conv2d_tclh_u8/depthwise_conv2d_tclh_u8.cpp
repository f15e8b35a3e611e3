#include "kernels/depthwise_conv2d_tclh_u8/depthwise_conv2d_tclh_u8.hpp"

#include "runtime/class_conv.hpp"
#include "runtime/class_expand.hpp"

namespace tr {

void depthwise_conv2d_tclh_u8(const Conv2D& layer, const Buffers& at) {
  uint8_t* rest;
  const ClassInput in = class_expanded(layer, at, true, rest);
  class_conv<1, false>(layer, in, rest, at);
}

}  // namespace tr
