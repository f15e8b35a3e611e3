// Depthwise int8 convolution of up to 3x3, strip by strip.
#ifndef TR_KERNELS_DEPTHWISE_CONV2D_I8S_I8_HPP
#define TR_KERNELS_DEPTHWISE_CONV2D_I8S_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void depthwise_conv2d_i8s_i8(const Conv2DI8& layer, const Buffers& at);

}  // namespace tr

#endif
