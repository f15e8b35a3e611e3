#include "kernels/input_u8/input_u8.hpp"

#include "runtime/dsp.hpp"

namespace tr {

void input_u8(const Input& layer, const Buffers& at) {
  const uint32_t mask = 0x01010101u * (0xffu >> layer.shift);
  const uint8_t* in = at.in;
  uint8_t* out = at.out;
  const uint32_t shift = layer.shift;
  uint32_t count = layer.count;
  for (; count >= 4; count -= 4, in += 4, out += 4) {
    store4_aligned(out, (load4_aligned(in) >> shift) & mask);
  }
  for (; count != 0; --count) *out++ = static_cast<uint8_t>(*in++ >> shift);
}

}  // namespace tr
