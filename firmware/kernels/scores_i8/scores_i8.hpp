// int8 values as int32 scores.
#ifndef TR_KERNELS_SCORES_I8_HPP
#define TR_KERNELS_SCORES_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void scores_i8(const CountI8& layer, const Buffers& at);

}  // namespace tr

#endif
