// Mean over any axes.
#ifndef TR_KERNELS_MEAN_I8_HPP
#define TR_KERNELS_MEAN_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void mean_i8(const MeanI8& layer, const Buffers& at);

}  // namespace tr

#endif
