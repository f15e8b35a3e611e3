// Ternary matrix product, two bits a weight.
#ifndef TR_KERNELS_DENSE_T2_U8_HPP
#define TR_KERNELS_DENSE_T2_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void dense_t2_u8(const Dense& layer, const Buffers& at);

}  // namespace tr

#endif
