// int8 convolution, two output pixels times four channels at a time, weights in pairs of channels.
#ifndef TR_KERNELS_CONV2D_I8P_I8_HPP
#define TR_KERNELS_CONV2D_I8P_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void conv2d_i8p_i8(const Conv2DI8& layer, const Buffers& at);

}  // namespace tr

#endif
