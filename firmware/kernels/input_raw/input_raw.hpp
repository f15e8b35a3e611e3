// An input that enters as it is.
#ifndef TR_KERNELS_INPUT_RAW_HPP
#define TR_KERNELS_INPUT_RAW_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void input_raw(const CountI8& layer, const Buffers& at);

}  // namespace tr

#endif
