// Max and average pooling over windows without padding.
#ifndef TR_KERNELS_POOL2D_U8_HPP
#define TR_KERNELS_POOL2D_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void pool2d_u8(const Pool2D& layer, const Buffers& at);

}  // namespace tr

#endif
