// Sum of two operands, each brought to a common scale first; may run in place.
#ifndef TR_KERNELS_ADD_I8_HPP
#define TR_KERNELS_ADD_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void add_i8(const BinaryI8& layer, const Buffers& at);

}  // namespace tr

#endif
