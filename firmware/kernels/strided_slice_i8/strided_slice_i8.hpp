// A regular part of a tensor, forwards or backwards along any axis.
#ifndef TR_KERNELS_STRIDED_SLICE_I8_HPP
#define TR_KERNELS_STRIDED_SLICE_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void strided_slice_i8(const CopyI8& layer, const Buffers& at);

}  // namespace tr

#endif
