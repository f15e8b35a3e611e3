// Average pooling: the mean of what lies in the input, halves away from zero.
#ifndef TR_KERNELS_AVERAGE_POOL_I8_HPP
#define TR_KERNELS_AVERAGE_POOL_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void average_pool_i8(const Pool2DI8& layer, const Buffers& at);

}  // namespace tr

#endif
