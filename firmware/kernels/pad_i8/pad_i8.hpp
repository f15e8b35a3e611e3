// A border of one value around a tensor.
#ifndef TR_KERNELS_PAD_I8_HPP
#define TR_KERNELS_PAD_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void pad_i8(const CopyI8& layer, const Buffers& at);

}  // namespace tr

#endif
