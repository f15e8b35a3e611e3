#include "kernels/strided_slice_i8/strided_slice_i8.hpp"

#include "runtime/int8_copy.hpp"

namespace tr {

void strided_slice_i8(const CopyI8& layer, const Buffers& at) { copy_i8(layer, at); }

}  // namespace tr
