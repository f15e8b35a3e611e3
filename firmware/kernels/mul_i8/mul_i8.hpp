// Product of two operands; may run in place.
#ifndef TR_KERNELS_MUL_I8_HPP
#define TR_KERNELS_MUL_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void mul_i8(const BinaryI8& layer, const Buffers& at);

}  // namespace tr

#endif
