// int8 matrix product, four outputs at a time, weights in pairs of channels.
#ifndef TR_KERNELS_DENSE_I8P_I8_HPP
#define TR_KERNELS_DENSE_I8P_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void dense_i8p_i8(const DenseI8& layer, const Buffers& at);

}  // namespace tr

#endif
