// int8 average pooling, four channels at a time.
#ifndef TR_KERNELS_AVERAGE_POOL_WORDS_I8_HPP
#define TR_KERNELS_AVERAGE_POOL_WORDS_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void average_pool_words_i8(const Pool2DI8& layer, const Buffers& at);

}  // namespace tr

#endif
