// Tensors one after the other along any axis.
#ifndef TR_KERNELS_CONCAT_I8_HPP
#define TR_KERNELS_CONCAT_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void concat_i8(const ConcatI8& layer, const Buffers& at);

}  // namespace tr

#endif
