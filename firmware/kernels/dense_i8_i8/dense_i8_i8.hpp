// int8 matrix product in plain C++.
#ifndef TR_KERNELS_DENSE_I8_I8_HPP
#define TR_KERNELS_DENSE_I8_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void dense_i8_i8(const DenseI8& layer, const Buffers& at);

}  // namespace tr

#endif
