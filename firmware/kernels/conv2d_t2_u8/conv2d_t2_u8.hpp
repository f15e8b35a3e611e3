// Ternary convolution, two bits a weight: four output pixels at a time from int16 columns.
#ifndef TR_KERNELS_CONV2D_T2_U8_HPP
#define TR_KERNELS_CONV2D_T2_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void conv2d_t2_u8(const Conv2D& layer, const Buffers& at);

}  // namespace tr

#endif
