// What a state is from here on.
#ifndef TR_KERNELS_ASSIGN_RAW_HPP
#define TR_KERNELS_ASSIGN_RAW_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void assign_raw(const CountI8& layer, const Buffers& at);

}  // namespace tr

#endif
