// Ternary depthwise convolution of planar tensors, over lists that are made in RAM from two bits a
// weight.
#ifndef TR_KERNELS_DEPTHWISE_CONV2D_TCL_U8_HPP
#define TR_KERNELS_DEPTHWISE_CONV2D_TCL_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void depthwise_conv2d_tcl_u8(const Conv2D& layer, const Buffers& at);

}  // namespace tr

#endif
