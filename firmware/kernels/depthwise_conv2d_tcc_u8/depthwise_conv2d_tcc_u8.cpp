#include "kernels/depthwise_conv2d_tcc_u8/depthwise_conv2d_tcc_u8.hpp"

#include "runtime/class_compiled_conv.hpp"

namespace tr {

void depthwise_conv2d_tcc_u8(const Conv2D& layer, const Buffers& at, CompiledLayer blocks) {
  class_compiled<true>(layer, at, blocks);
}

}  // namespace tr
