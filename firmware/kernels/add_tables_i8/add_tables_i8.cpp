#include "kernels/add_tables_i8/add_tables_i8.hpp"

#include "runtime/int8_elementwise.hpp"

namespace tr {
namespace {

// What every value of an operand adds to the common scale, by q + 128.
TR_NOINLINE void fill(int32_t* table, const OperandI8& operand) {
  for (int32_t q = -128; q < 128; ++q) *table++ = common_scale_i8(operand, q);
}

#if TR_DSP

// The last requantisation, its shift one to the right at least.
class Result {
 public:
  explicit Result(const BinaryI8& layer)
      : multiplier(static_cast<int32_t>(2 * static_cast<uint32_t>(layer.multiplier))),
        shift(-layer.shift),
        half((1 << (shift - 1)) + layer.zero_point * (1 << shift)) {}

  // SMMLAR with 2m - 2^32 rounds like the first half of a requantisation (int8_pairs.hpp).
  TR_INLINE int32_t of(int32_t sum) const {
    int32_t high;
    asm("smmlar %0, %1, %2, %1" : "=r"(high) : "r"(sum), "r"(multiplier));
    high += high >> 31;  // halves go away from zero
    return __ssat((high + half) >> shift, 8);
  }

 private:
  const int32_t multiplier, shift, half;
};

#else

class Result {
 public:
  explicit Result(const BinaryI8& binary) : layer(binary) {}
  TR_INLINE int32_t of(int32_t sum) const { return finish_i8(layer, sum); }

 private:
  const BinaryI8& layer;
};

#endif

template <bool Clamped>
TR_INLINE void add(const BinaryI8& layer, const Buffers& at, const int32_t* a, const int32_t* b) {
  const Result result(layer);
  const int8_t* x = as_i8(at.in);
  const int8_t* y = as_i8(at.operand);
  int8_t* out = as_i8(at.out);
  const int32_t lo = layer.lo, hi = layer.hi;
  for (size_t n = layer.size[0] * layer.size[1] * layer.size[2]; n != 0; --n) {
    const int32_t q = result.of(a[*x++] + b[*y++]);
    *out++ = Clamped ? clamp_i8(q, lo, hi) : static_cast<int8_t>(q);
  }
}

}  // namespace

void add_tables_i8(const BinaryI8& layer, const Buffers& at) {
  int32_t* a = reinterpret_cast<int32_t*>(at.scratch);
  int32_t* b = a + 256;
  fill(a, layer.a);
  fill(b, layer.b);
  if (layer.lo == -128 && layer.hi == 127) {
    add<false>(layer, at, a + 128, b + 128);
  } else {
    add<true>(layer, at, a + 128, b + 128);
  }
}

}  // namespace tr
