// Ternary depthwise convolution of any shape, two bits a weight.
#ifndef TR_KERNELS_DEPTHWISE_CONV2D_T2_U8_HPP
#define TR_KERNELS_DEPTHWISE_CONV2D_T2_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void depthwise_conv2d_t2_u8(const Conv2D& layer, const Buffers& at);

}  // namespace tr

#endif
