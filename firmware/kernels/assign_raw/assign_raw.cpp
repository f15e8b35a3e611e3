#include "kernels/assign_raw/assign_raw.hpp"

#include "runtime/int8.hpp"

namespace tr {

// The count is in bytes. A state is aligned, and so is every tensor in the arena: words first.
void assign_raw(const CountI8& layer, const Buffers& at) {
  const uint8_t* in = at.in;
  uint8_t* out = at.out;
  uint32_t count = layer.count;
  for (; count >= 4; count -= 4, in += 4, out += 4) store4_aligned(out, load4_aligned(in));
  for (; count != 0; --count) *out++ = *in++;
}

}  // namespace tr
