// Requantisation of one or two tensors by itself; may run in place.
#ifndef TR_KERNELS_REQUANTIZE_U8_HPP
#define TR_KERNELS_REQUANTIZE_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void requantize_u8(const RequantizeAlone& layer, const Buffers& at);

}  // namespace tr

#endif
