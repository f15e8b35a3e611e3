// The constants of int8 layers (arithmetic family `tflite`): what codegen/int8_parameters.py writes
// and the kernels `*_i8` are given. All of it was checked when the code was generated.
//
// Integers mean what they mean in TensorFlow Lite: real = scale * (q - zero_point). Offsets are
// negated zero points, ready to be added. A requantisation is a multiplier (Q0.31) and a shift,
// positive to the left, per output channel or one for all.
#ifndef TR_RUNTIME_INT8_LAYERS_HPP
#define TR_RUNTIME_INT8_LAYERS_HPP

#include "runtime/layers.hpp"

namespace tr {

// From an accumulator to int8: clamp(zero_point + MultiplyByQuantizedMultiplier(acc), lo, hi).
struct RequantizeI8 {
  const int32_t* bias;        // per channel
  const int32_t* multiplier;  // per channel, or one
  const int8_t* shift;        // as multiplier
  bool per_channel;
  int8_t zero_point;
  int8_t lo;
  int8_t hi;
};

// Convolution and depthwise convolution. Pads hold the input's zero point, which adds nothing.
struct Conv2DI8 {
  const void* weights;  // as the kernel's packing makes them; without packing, by op:
                        // conv2d (out_c, kernel_h, kernel_w, in_c), depthwise (kernel_h, kernel_w,
                        // out_c); int8, or int4 in pairs with the first in the low nibble
  RequantizeI8 requantize;
  int16_t input_offset;  // -zero point of the input
  uint16_t in_h, in_w, in_c;
  uint16_t out_h, out_w, out_c;
  uint16_t kernel_h, kernel_w;
  uint16_t stride_y, stride_x;
  uint16_t dilation_y, dilation_x;
  uint16_t pad_top, pad_left;
  uint16_t depth_multiplier;  // depthwise: out_c / in_c; else 1
};

// Matrix product on `rows` vectors.
struct DenseI8 {
  const void* weights;  // (outputs, inputs), int8 or int4 as above
  RequantizeI8 requantize;
  int16_t input_offset;
  int16_t weight_offset;  // -zero point of the weights
  uint32_t rows, inputs, outputs;
};

// Pooling over the part of each window that lies in the input.
struct Pool2DI8 {
  uint16_t in_h, in_w, channels;
  uint16_t out_h, out_w;
  uint16_t size_y, size_x;
  uint16_t stride_y, stride_x;
  uint16_t pad_top, pad_left;
  int8_t lo, hi;
};

// Up to four loops, outermost first: elements and, per operand, the elements from one to the next
// (0 where an operand is broadcast, negative where it is read backwards). Unused loops have size 1.
struct Loops {
  uint32_t size[4];
  int32_t step[4];   // of the first operand
  int32_t step2[4];  // of the second
};

// add, sub and mul.
struct BinaryI8 {
  Loops loops;  // over the output, which is written in order
  int16_t offset1, offset2;
  int32_t multiplier1, multiplier2;  // add, sub: of each input; mul: unused
  int8_t shift1, shift2;
  uint8_t left_shift;  // add, sub: of both inputs
  int32_t multiplier;  // of the result
  int8_t shift;
  int8_t zero_point;
  int8_t lo, hi;
};

// minimum and maximum: integers are compared as they are.
struct SelectI8 {
  Loops loops;
};

// One byte for every value: out = table[in + 128].
struct LookupI8 {
  const int8_t* table;
  uint32_t count;
};

// Copies an input to a place in the output; what is not copied to is filled first.
struct CopyI8 {
  Loops loops;    // step: of the input, step2: of the output
  int32_t from;   // first element read
  uint32_t to;    // first element written
  uint32_t fill;  // elements of the output to fill first, 0 for none
  int8_t value;   // to fill with
};

struct InputI8 {
  uint32_t count;
};

}  // namespace tr

#endif
