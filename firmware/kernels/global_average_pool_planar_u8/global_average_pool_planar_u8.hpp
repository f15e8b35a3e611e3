// Mean over all pixels, per channel, from the layout planar4.
#ifndef TR_KERNELS_GLOBAL_AVERAGE_POOL_PLANAR_U8_HPP
#define TR_KERNELS_GLOBAL_AVERAGE_POOL_PLANAR_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void global_average_pool_planar_u8(const GlobalAveragePool& layer, const Buffers& at);

}  // namespace tr

#endif
