// Operations of two operands, element by element, with broadcasting: one loop for all of them.
#ifndef TR_RUNTIME_INT8_ELEMENTWISE_HPP
#define TR_RUNTIME_INT8_ELEMENTWISE_HPP

#include "runtime/int8.hpp"

namespace tr {

// out = operation(a, b) for every element of the output. Each element is written after both of its
// operands were read, so the output may lie over an operand of its own size.
template <class Operation>
TR_INLINE void elementwise_i8(const BinaryI8& layer, const Buffers& at, Operation operation) {
  const uint8_t* second = layer.a.constant != nullptr ? at.in : at.operand;
  const int8_t* a0 = layer.a.constant != nullptr ? layer.a.constant : as_i8(at.in);
  const int8_t* b0 = layer.b.constant != nullptr ? layer.b.constant : as_i8(second);
  int8_t* out = as_i8(at.out);
  const int32_t step_a = layer.a.step[2];
  const int32_t step_b = layer.b.step[2];
  const uint32_t length = layer.size[2];
  for (uint32_t i = layer.size[0]; i != 0; --i, a0 += layer.a.step[0], b0 += layer.b.step[0]) {
    const int8_t* a1 = a0;
    const int8_t* b1 = b0;
    for (uint32_t j = layer.size[1]; j != 0; --j, a1 += layer.a.step[1], b1 += layer.b.step[1]) {
      const int8_t* a = a1;
      const int8_t* b = b1;
      for (uint32_t k = length; k != 0; --k, a += step_a, b += step_b) {
        *out++ = operation(*a, *b);
      }
    }
  }
}

// Copies of what the loops need of a layer's constants: a store to the output could change the
// constants themselves, for all the compiler knows.
struct ResultI8 {
  explicit ResultI8(const BinaryI8& layer)
      : multiplier(layer.multiplier),
        left(layer.shift > 0 ? layer.shift : 0),
        right(layer.shift > 0 ? 0 : -layer.shift),
        zero_point(layer.zero_point),
        lo(layer.lo),
        hi(layer.hi) {}

  TR_INLINE int8_t operator()(int32_t value) const {
    const int32_t scaled = doubling_high_mul(shift_left(value, left), multiplier);
    return clamp_i8(rounding_shift_right(scaled, right) + zero_point, lo, hi);
  }

  int32_t multiplier, left, right, zero_point, lo, hi;
};

// Of add and sub: an operand brought to the common scale, 20 bits up; never shifted to the left.
struct CommonScaleI8 {
  explicit CommonScaleI8(const OperandI8& operand)
      : offset(operand.offset), multiplier(operand.multiplier), right(-operand.shift) {}

  TR_INLINE int32_t operator()(int32_t q) const {
    return rounding_shift_right(doubling_high_mul(shift_left(q + offset, 20), multiplier), right);
  }

  int32_t offset, multiplier, right;
};

// The same on the constants themselves.
TR_INLINE int32_t common_scale_i8(const OperandI8& operand, int32_t q) {
  return CommonScaleI8(operand)(q);
}
TR_INLINE int8_t finish_i8(const BinaryI8& layer, int32_t value) { return ResultI8(layer)(value); }

}  // namespace tr

#endif
