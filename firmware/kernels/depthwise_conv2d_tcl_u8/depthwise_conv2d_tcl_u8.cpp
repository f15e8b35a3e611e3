#include "kernels/depthwise_conv2d_tcl_u8/depthwise_conv2d_tcl_u8.hpp"

#include "runtime/class_conv.hpp"
#include "runtime/class_expand.hpp"

namespace tr {

void depthwise_conv2d_tcl_u8(const Conv2D& layer, const Buffers& at) {
  const ClassInput in = class_planar_input(layer, at, true);
  class_conv<1, true>(layer, in, at.scratch, at);
  if (layer.requantize.finish != Finish::raw) {
    planar_close(at.out, layer.out_h, layer.out_w, layer.requantize.channels);
  }
}

}  // namespace tr
