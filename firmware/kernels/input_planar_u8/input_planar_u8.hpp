// The input's shift, `q = x >> shift`, into the layout planar4.
#ifndef TR_KERNELS_INPUT_PLANAR_U8_HPP
#define TR_KERNELS_INPUT_PLANAR_U8_HPP

#include "runtime/layers.hpp"

namespace tr {

void input_planar_u8(const Input& layer, const Buffers& at);

}  // namespace tr

#endif
