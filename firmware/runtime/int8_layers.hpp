// The constants of int8 layers (arithmetic family `tflite`): what codegen/int8_parameters.py writes
// and the kernels `*_i8` are given. All of it was checked when the code was generated.
//
// Integers mean what they mean in graph/int8.py: real = scale * (q - zero_point). Offsets are
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
                        // out_c); int8
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
  const void* weights;  // (outputs, inputs), as above
  RequantizeI8 requantize;
  int16_t input_offset;
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

// Three nested loops, the outermost first, and how far an operand moves from one element to the
// next in each: 0 where it is broadcast, negative where it is read backwards.
struct LoopsI8 {
  uint32_t size[3];
  int32_t step[3];
};

// Mean over some axes: for each of the outer loops, which write the output in order, a sum over
// the inner ones.
struct MeanI8 {
  LoopsI8 outer;
  LoopsI8 inner;
  int32_t input_offset;  // -zero point, times the elements of the inner loops
  int32_t multiplier;
  int8_t shift;
  int8_t zero_point;
};

// An operand of an elementwise operation: an input, or a constant where that is not null.
struct OperandI8 {
  const int8_t* constant;
  int32_t step[3];  // in the loops over the output
  int16_t offset;   // -zero point
  int8_t shift;     // add, sub: of the requantisation to the common scale
  int32_t multiplier;
};

// add, sub, mul, minimum, maximum; the last two compare integers as they are.
struct BinaryI8 {
  OperandI8 a, b;
  uint32_t size[3];    // of the output, which is written in order
  int32_t multiplier;  // of the result
  int8_t shift;
  int8_t zero_point;
  int8_t lo, hi;
};

// A sum of two inputs of one shape as clamp((start + (a * x >> 8) + (b * y >> 8)) >> 21), int8.
struct LinearI8 {
  int32_t a, b, start;
  uint32_t count;
};

// A copy of part of a tensor, or into part of one.
struct CopyI8 {
  uint32_t size[3];
  int32_t from_step[3], to_step[3];
  uint32_t from, to;  // first element read and written
  uint32_t fill;      // elements of the output to set to `value` first
  int8_t value;
};

// Each of `outer` rows of the output is `bytes[i]` bytes of every input in turn.
struct ConcatI8 {
  uint32_t outer;
  uint16_t inputs;
  const uint32_t* bytes;
};

// Output pixel (y, x) is input pixel (rows[y], columns[x]).
struct ResizeI8 {
  uint16_t in_w, channels;
  uint16_t out_h, out_w;
  const uint16_t* rows;
  const uint16_t* columns;
};

// Output pixel (y, x) is between rows `rows[3 * y]` and `[3 * y + 1]`, the second with a weight of
// `[3 * y + 2]` / 1024; columns likewise.
struct BilinearI8 {
  uint16_t in_w, channels;
  uint16_t out_h, out_w;
  const int16_t* rows;
  const int16_t* columns;
};

// Six nested loops over the output in order, the outermost first, and how far the input moves from
// one element to the next in each; `from`: the first element read.
struct RearrangeI8 {
  uint32_t size[6];
  int32_t step[6];
  uint32_t from;
};

// out = table[in + 128].
struct LookupI8 {
  const int8_t* table;
  uint32_t count;
};

// Over rows of `depth`: exponentials[d] is exp(-d * beta * scale) in Q0.31 for the first `known`
// differences d from the row's maximum; the next entry is 0, as for all others.
struct SoftmaxI8 {
  const int32_t* exponentials;
  uint16_t known;
  uint32_t rows, depth;
};

// input: x - 128; scores: int8 to int32.
struct CountI8 {
  uint32_t count;
};

}  // namespace tr

#endif
