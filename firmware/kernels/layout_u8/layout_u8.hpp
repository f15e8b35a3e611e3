// A tensor once more in another layout: HWC to planar4 or back; u8 and i16.
#ifndef TR_KERNELS_LAYOUT_U8_HPP
#define TR_KERNELS_LAYOUT_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void layout_u8(const LayoutChange& layer, const Buffers& at);

}  // namespace tr

#endif
