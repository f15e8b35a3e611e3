#include "kernels/conv2d_tclh_u8/conv2d_tclh_u8.hpp"

#include "runtime/class_conv.hpp"
#include "runtime/class_expand.hpp"

namespace tr {

void conv2d_tclh_u8(const Conv2D& layer, const Buffers& at, uint32_t share) {
  uint8_t* rest;
  const ClassInput in = class_expanded(layer, at, false, rest);
  class_conv_any<false>(share, layer, in, rest, at);
}

}  // namespace tr
