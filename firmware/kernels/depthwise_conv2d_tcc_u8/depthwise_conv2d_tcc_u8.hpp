// Ternary convolution of planar tensors whose weights are compiled into code in flash; four
// channels share class sums.
#ifndef TR_KERNELS_DEPTHWISE_CONV2D_TCC_U8_HPP
#define TR_KERNELS_DEPTHWISE_CONV2D_TCC_U8_HPP

#include "runtime/class_compiled.hpp"
#include "runtime/layers.hpp"

namespace tr {

void depthwise_conv2d_tcc_u8(const Conv2D& layer, const Buffers& at, CompiledLayer blocks);

}  // namespace tr

#endif
