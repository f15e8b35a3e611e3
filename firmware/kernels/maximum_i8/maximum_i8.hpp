// The maximum of two operands of one scale; may run in place.
#ifndef TR_KERNELS_MAXIMUM_I8_HPP
#define TR_KERNELS_MAXIMUM_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void maximum_i8(const BinaryI8& layer, const Buffers& at);

}  // namespace tr

#endif
