#include "kernels/conv2d_tl_u8/conv2d_tl_u8.hpp"

#include "runtime/lists_conv.hpp"

namespace tr {

void conv2d_tl_u8(const Conv2D& layer, const Buffers& at) { conv2d_lists<1>(layer, at); }

}  // namespace tr
