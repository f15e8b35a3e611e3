// Depthwise int8 convolution of any window, four channels at a time.
#ifndef TR_KERNELS_DEPTHWISE_CONV2D_I8W_I8_HPP
#define TR_KERNELS_DEPTHWISE_CONV2D_I8W_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void depthwise_conv2d_i8w_i8(const Conv2DI8& layer, const Buffers& at);

}  // namespace tr

#endif
