// Sum of two int8 tensors of one shape as one linear form, where packing has proved it exact.
#ifndef TR_KERNELS_ADD_LINEAR_I8_HPP
#define TR_KERNELS_ADD_LINEAR_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void add_linear_i8(const LinearI8& layer, const Buffers& at);

}  // namespace tr

#endif
