// Ternary convolution over lists of the weights that are not zero, eight output pixels at a time.
#ifndef TR_KERNELS_CONV2D_TL_U8_HPP
#define TR_KERNELS_CONV2D_TL_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void conv2d_tl_u8(const Conv2D& layer, const Buffers& at);

}  // namespace tr

#endif
