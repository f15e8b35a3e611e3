#include "kernels/conv2d_tcc_u8/conv2d_tcc_u8.hpp"

#include "runtime/class_compiled_conv.hpp"

namespace tr {

void conv2d_tcc_u8(const Conv2D& layer, const Buffers& at, CompiledLayer blocks) {
  class_compiled<false>(layer, at, blocks);
}

}  // namespace tr
