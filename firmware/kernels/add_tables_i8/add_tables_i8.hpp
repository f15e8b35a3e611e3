// Sum of two int8 tensors of one shape: each operand's share of the sum is looked up.
#ifndef TR_KERNELS_ADD_TABLES_I8_HPP
#define TR_KERNELS_ADD_TABLES_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void add_tables_i8(const BinaryI8& layer, const Buffers& at);

}  // namespace tr

#endif
