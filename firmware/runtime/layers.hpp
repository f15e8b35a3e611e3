// What every kernel is given: the constants of a layer and where its data lies.
//
// A kernel is `void tr::<id>(const tr::<Params>&, const tr::Buffers&)`, where Params is the struct
// of its operation below. codegen/ writes one constant Params per layer, in flash; everything in
// it was checked when the code was generated, so kernels trust it.
#ifndef TR_RUNTIME_LAYERS_HPP
#define TR_RUNTIME_LAYERS_HPP

#include <stddef.h>
#include <stdint.h>

namespace tr {

// Element types of tensors in the arena; the numbers are those of tr_step::out_type.
enum class Type : uint8_t { u8 = 0, i8 = 1, i16 = 2, i32 = 3 };

// What becomes of a layer's accumulators.
enum class Finish : uint8_t {
  raw,       // stored as they are, i16 or i32
  quantise,  // t = bias + ((m * acc) >> 16) [+ ((m2 * operand) >> 16)]; clamp((t + half) >> shift)
  scores,    // t itself, i32
};

struct Requantize {
  const int32_t* bias;         // per channel
  const int32_t* multiplier;   // per channel, of the accumulator (or of the first input)
  const int32_t* multiplier2;  // per channel, of the operand; null when there is none
  uint16_t channels;
  Finish finish;
  Type in;       // type of the first input, where it is read from memory
  Type operand;  // type of the second input
  Type out;
  uint8_t shift;
  uint8_t lo;
  uint8_t hi;
  bool narrow;    // every accumulator fits int16
  bool saturate;  // lo is 0 and hi is 2^bits - 1
  uint8_t bits;   // for saturate
};

struct Conv2D {
  const uint32_t* weights;  // packed as the kernel wants them
  Requantize requantize;
  uint16_t in_h, in_w, in_c;
  uint16_t out_h, out_w;  // out_c is requantize.channels
  uint16_t kernel_h, kernel_w;
  uint16_t stride_y, stride_x;
  uint16_t pad_top, pad_left;
};

struct Dense {
  const uint32_t* weights;
  Requantize requantize;
  uint32_t inputs;  // outputs are requantize.channels
};

struct RequantizeAlone {
  Requantize requantize;
  uint32_t pixels;  // elements are pixels * channels
};

enum class Pooling : uint8_t { max, average };

struct Pool2D {
  uint16_t in_h, in_w, channels;
  uint16_t out_h, out_w;
  uint16_t size_y, size_x;
  uint16_t stride_y, stride_x;
  Pooling kind;
  uint16_t rounding;  // added to an average's sum
  bool half_even;     // an exact half goes to the even neighbour
};

struct GlobalAveragePool {
  uint32_t pixels;  // height * width
  uint32_t rounding;
  uint16_t height, width;
  uint8_t half_even;  // an exact half goes to the even neighbour
  uint16_t channels;
};

struct Input {
  uint32_t count;  // height * width * channels
  uint16_t height, width, channels;
  uint8_t shift;
};

// The same integers in another layout (planar.hpp).
struct LayoutChange {
  uint16_t height, width, channels;
  Type type;
  bool to_planar;
};

struct Buffers {
  constexpr Buffers(const uint8_t* in_at, const uint8_t* operand_at, uint8_t* out_at,
                    uint8_t* scratch_at, const uint8_t* const* all = nullptr,
                    uint32_t* code_at = nullptr, uint32_t* kept_at = nullptr)
      : in(in_at),
        operand(operand_at),
        out(out_at),
        scratch(scratch_at),
        inputs(all),
        code(code_at),
        kept(kept_at) {}

  const uint8_t* in;
  const uint8_t* operand;  // second branch of a residual, or null
  uint8_t* out;
  uint8_t* scratch;              // aligned to 8, or null
  const uint8_t* const* inputs;  // all of them, where a layer may have more than two
  uint32_t* code;                // executable RAM that the layers share (code_ram.hpp), or null
  uint32_t* kept;                // executable RAM of this layer alone, zero at start-up, or null
};

}  // namespace tr

#endif
