#include "kernels/scores_i8/scores_i8.hpp"

#include "runtime/int8.hpp"

namespace tr {

void scores_i8(const CountI8& layer, const Buffers& at) {
  const int8_t* in = as_i8(at.in);
  int32_t* out = reinterpret_cast<int32_t*>(at.out);
  for (uint32_t n = layer.count; n != 0; --n) *out++ = *in++;
}

}  // namespace tr
