// Ternary convolution of tensors in HWC order, class sums from lists that are made in RAM from
// codes of two bits a weight.
#ifndef TR_KERNELS_CONV2D_TCLH_U8_HPP
#define TR_KERNELS_CONV2D_TCLH_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

// `share`: how many output channels share class sums.
void conv2d_tclh_u8(const Conv2D& layer, const Buffers& at, uint32_t share);

}  // namespace tr

#endif
