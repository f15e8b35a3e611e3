#include "kernels/input_u8/input_u8.hpp"

#include "runtime/dsp.hpp"

namespace tr {

void input_u8(const Input& layer, const Buffers& at) {
  const uint32_t mask = 0x01010101u * (0xffu >> layer.shift);
  uint32_t i = 0;
  for (; i + 4 <= layer.count; i += 4) store4(at.out + i, (load4(at.in + i) >> layer.shift) & mask);
  for (; i < layer.count; ++i) at.out[i] = static_cast<uint8_t>(at.in[i] >> layer.shift);
}

}  // namespace tr
