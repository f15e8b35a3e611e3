// Max pooling over what lies in the input.
#ifndef TR_KERNELS_MAX_POOL_I8_HPP
#define TR_KERNELS_MAX_POOL_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void max_pool_i8(const Pool2DI8& layer, const Buffers& at);

}  // namespace tr

#endif
