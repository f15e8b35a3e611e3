// The minimum of two operands of one scale; may run in place.
#ifndef TR_KERNELS_MINIMUM_I8_HPP
#define TR_KERNELS_MINIMUM_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void minimum_i8(const BinaryI8& layer, const Buffers& at);

}  // namespace tr

#endif
