#include "kernels/rearrange_i8/rearrange_i8.hpp"

#include "runtime/int8_copy.hpp"

namespace tr {

void rearrange_i8(const RearrangeI8& layer, const Buffers& at) {
  constexpr int last = 5;
  uint32_t index[last] = {};
  const uint8_t* in = at.in + layer.from;
  uint8_t* out = at.out;
  const uint32_t length = layer.size[last];
  const int32_t step = layer.step[last];
  for (;;) {
    if (step == 1) {
      out = copy_bytes(in, out, length);
    } else {
      const uint8_t* q = in;
      for (uint32_t n = length; n != 0; --n, q += step) *out++ = *q;
    }
    int axis = last - 1;  // the next run: like the digits of a number
    for (; axis >= 0; --axis) {
      in += layer.step[axis];
      if (++index[axis] != layer.size[axis]) break;
      in -= layer.step[axis] * static_cast<int32_t>(layer.size[axis]);
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}

}  // namespace tr
