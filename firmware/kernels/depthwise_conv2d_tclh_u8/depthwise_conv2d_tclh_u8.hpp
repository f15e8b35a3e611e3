// Ternary depthwise convolution of tensors in HWC order, over lists that are made in RAM from two
// bits a weight.
#ifndef TR_KERNELS_DEPTHWISE_CONV2D_TCLH_U8_HPP
#define TR_KERNELS_DEPTHWISE_CONV2D_TCLH_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void depthwise_conv2d_tclh_u8(const Conv2D& layer, const Buffers& at);

}  // namespace tr

#endif
