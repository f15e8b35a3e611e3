#include "kernels/softmax_i8/softmax_i8.hpp"

#include "runtime/int8.hpp"

namespace tr {
namespace {

// gemmlowp's one_over_one_plus_x_for_x_in_0_1: 1 / (1 + r) for r in Q0.31, by Newton's method from
// 48/17 - 32/17 * (1 + r) / 2 in Q2.29. |1 - half * x| stays below 1/16, so that the factor of
// four of its rescaling never saturates; the last doubling does where the result is 1.
int32_t reciprocal(int32_t r) {
  // Q0.31 has no 1: 2^31 - 1 stands for it. Halves away from zero.
  const int64_t sum = static_cast<int64_t>(r) + 0x7fffffff;
  const int32_t half = static_cast<int32_t>((sum + (sum >= 0 ? 1 : -1)) / 2);
  int32_t x = 1515870810 + doubling_high_mul(half, -1010580540);
  for (int i = 0; i < 3; ++i) {
    const int32_t rest = (1 << 29) - doubling_high_mul(half, x);
    x += shift_left(doubling_high_mul(x, rest), 2);
  }
  return x >= 1 << 30 ? 0x7fffffff : shift_left(x, 1);
}

int32_t largest_of(const int8_t* row, uint32_t depth) {
  int32_t largest = row[0];
  for (uint32_t i = 1; i < depth; ++i) {
    if (row[i] > largest) largest = row[i];
  }
  return largest;
}

// RoundingDivideByPOT as x86 computes it for exponents above 31, too, which rows of 512 elements
// and more can ask for: see SoftmaxInt8 in graph/int8.py.
TR_INLINE int32_t divide(int32_t x, int32_t exponent, int32_t e) {
  if (exponent <= 31) return rounding_shift_right(x, exponent);
  return (x >> (exponent - 32)) + (e > 0 ? 1 : 0);
}

// The exponential of a difference from the row's maximum. Behind the table stands a 0 for all that
// it does not hold, so that the time does not depend on the data.
class Exponentials {
 public:
  explicit Exponentials(const SoftmaxI8& layer) : table_(layer.exponentials), known_(layer.known) {}
  TR_INLINE int32_t of(int32_t difference) const {
    const uint32_t d = static_cast<uint32_t>(difference);
    return table_[d < known_ ? d : known_];
  }

 private:
  const int32_t* table_;
  uint32_t known_;
};

}  // namespace

void softmax_i8(const SoftmaxI8& layer, const Buffers& at) {
  const Exponentials exponential(layer);
  const uint32_t depth = layer.depth;
  const int8_t* in = as_i8(at.in);
  int8_t* out = as_i8(at.out);
  for (uint32_t row = layer.rows; row != 0; --row, in += depth) {
    const int32_t largest = largest_of(in, depth);
    uint32_t sum = 0;  // Q12.19
    for (uint32_t i = 0; i < depth; ++i) {
      sum += static_cast<uint32_t>(rounding_shift_right(exponential.of(largest - in[i]), 12));
    }
    const int32_t headroom = __builtin_clz(sum);
    const int32_t scale = reciprocal(static_cast<int32_t>((sum << headroom) - (1u << 31)));
    const int32_t exponent = 12 - headroom + 31 - 8;
    for (uint32_t i = 0; i < depth; ++i) {
      const int32_t e = exponential.of(largest - in[i]);
      const int32_t q = divide(doubling_high_mul(scale, e), exponent, e);  // never below 0
      *out++ = static_cast<int8_t>((q < 255 ? q : 255) - 128);
    }
  }
}

}  // namespace tr
