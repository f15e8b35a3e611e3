// Ternary convolution whose channels share sums in fours, by code generated into RAM.
#ifndef TR_KERNELS_CONV2D_TG_U8_HPP
#define TR_KERNELS_CONV2D_TG_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

// `split`: at most so many inputs in one piece of code. `keep`: the code stays in `at.kept`.
void conv2d_tg_u8(const Conv2D& layer, const Buffers& at, uint32_t split, uint32_t keep);

}  // namespace tr

#endif
