// The input's shift, `q = x >> shift`; may run in place.
#ifndef TR_KERNELS_INPUT_U8_HPP
#define TR_KERNELS_INPUT_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void input_u8(const Input& layer, const Buffers& at);

}  // namespace tr

#endif
