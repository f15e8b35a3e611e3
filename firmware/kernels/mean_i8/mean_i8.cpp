#include "kernels/mean_i8/mean_i8.hpp"

#include "runtime/int8.hpp"

namespace tr {
namespace {

int32_t sum_of(const LoopsI8& loops, const int8_t* in) {
  int32_t sum = 0;
  for (uint32_t i = loops.size[0]; i != 0; --i, in += loops.step[0]) {
    const int8_t* row = in;
    for (uint32_t j = loops.size[1]; j != 0; --j, row += loops.step[1]) {
      const int8_t* q = row;
      for (uint32_t k = loops.size[2]; k != 0; --k, q += loops.step[2]) sum += *q;
    }
  }
  return sum;
}

}  // namespace

void mean_i8(const MeanI8& layer, const Buffers& at) {
  const int8_t* in0 = as_i8(at.in);
  int8_t* out = as_i8(at.out);
  const LoopsI8& loops = layer.outer;
  // Copies: a store to the output could change the constants, for all the compiler knows.
  const int32_t offset = layer.input_offset;
  const int32_t multiplier = layer.multiplier;
  const int32_t shift = layer.shift;
  const int32_t zero_point = layer.zero_point;
  for (uint32_t i = loops.size[0]; i != 0; --i, in0 += loops.step[0]) {
    const int8_t* in1 = in0;
    for (uint32_t j = loops.size[1]; j != 0; --j, in1 += loops.step[1]) {
      const int8_t* in = in1;
      for (uint32_t k = loops.size[2]; k != 0; --k, in += loops.step[2]) {
        const int32_t sum = sum_of(layer.inner, in) + offset;
        const int32_t q = multiply_by_quantized(sum, multiplier, shift);
        *out++ = clamp_i8(q + zero_point, -128, 127);
      }
    }
  }
}

}  // namespace tr
