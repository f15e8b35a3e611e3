// int8 convolution in plain C++: the reference, for any stride, dilation and padding.
#ifndef TR_KERNELS_CONV2D_I8_I8_HPP
#define TR_KERNELS_CONV2D_I8_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void conv2d_i8_i8(const Conv2DI8& layer, const Buffers& at);

}  // namespace tr

#endif
