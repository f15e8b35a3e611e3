#include "kernels/input_i8/input_i8.hpp"

#include "runtime/int8.hpp"

namespace tr {

// x - 128 as int8 is x with its highest bit flipped.
void input_i8(const CountI8& layer, const Buffers& at) {
  const uint8_t* in = at.in;
  uint8_t* out = at.out;
  uint32_t count = layer.count;
  for (; count >= 4; count -= 4, in += 4, out += 4) {
    store4_aligned(out, load4_aligned(in) ^ 0x80808080u);
  }
  for (; count != 0; --count) *out++ = static_cast<uint8_t>(*in++ ^ 0x80u);
}

}  // namespace tr
