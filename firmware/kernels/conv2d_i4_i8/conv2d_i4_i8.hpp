// Convolution with int4 weights, two to a byte.
#ifndef TR_KERNELS_CONV2D_I4_I8_HPP
#define TR_KERNELS_CONV2D_I4_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void conv2d_i4_i8(const Conv2DI8& layer, const Buffers& at);

}  // namespace tr

#endif
