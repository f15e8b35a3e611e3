#include "kernels/dense_i4_i8/dense_i4_i8.hpp"

#include "runtime/int8_conv.hpp"

namespace tr {

void dense_i4_i8(const DenseI8& layer, const Buffers& at) { dense_portable<WeightsI4>(layer, at); }

}  // namespace tr
