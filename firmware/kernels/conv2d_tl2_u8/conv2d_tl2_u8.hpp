// Ternary convolution over lists that two output channels share, eight output pixels at a time.
#ifndef TR_KERNELS_CONV2D_TL2_U8_HPP
#define TR_KERNELS_CONV2D_TL2_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void conv2d_tl2_u8(const Conv2D& layer, const Buffers& at);

}  // namespace tr

#endif
