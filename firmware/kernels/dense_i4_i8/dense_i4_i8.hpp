// Matrix product with int4 weights, two to a byte.
#ifndef TR_KERNELS_DENSE_I4_I8_HPP
#define TR_KERNELS_DENSE_I4_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void dense_i4_i8(const DenseI8& layer, const Buffers& at);

}  // namespace tr

#endif
