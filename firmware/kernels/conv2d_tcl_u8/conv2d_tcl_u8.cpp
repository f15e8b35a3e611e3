#include "kernels/conv2d_tcl_u8/conv2d_tcl_u8.hpp"

#include "runtime/class_conv.hpp"
#include "runtime/class_expand.hpp"

namespace tr {

void conv2d_tcl_u8(const Conv2D& layer, const Buffers& at, uint32_t share) {
  const ClassInput in = class_planar_input(layer, at, false);
  class_conv_any<true>(share, layer, in, at.scratch, at);
  if (layer.requantize.finish != Finish::raw) {
    planar_close(at.out, layer.out_h, layer.out_w, layer.requantize.channels);
  }
}

}  // namespace tr
