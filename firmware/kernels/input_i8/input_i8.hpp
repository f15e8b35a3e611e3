// The device's uint8 input as int8, q = x - 128; may run in place.
#ifndef TR_KERNELS_INPUT_I8_HPP
#define TR_KERNELS_INPUT_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void input_i8(const CountI8& layer, const Buffers& at);

}  // namespace tr

#endif
