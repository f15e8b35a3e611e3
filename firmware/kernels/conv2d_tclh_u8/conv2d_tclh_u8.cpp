#include "kernels/conv2d_tclh_u8/conv2d_tclh_u8.hpp"

#include "runtime/class_conv.hpp"
#include "runtime/class_expand.hpp"

namespace tr {

void conv2d_tclh_u8(const Conv2D& layer, const Buffers& at, uint32_t share) {
  const size_t stretch = 4 * class_stretch_words(layer);
  const size_t row = layer.in_c * stretch;
  const ClassInput in = {at.scratch, layer.stride_y * row, 4u * layer.stride_x, stretch,
                         planar_lane_words(layer.out_w)};
  uint8_t* rest = at.scratch + class_rows(layer) * row;
  for (size_t c = 0; c < layer.in_c; ++c) rest[c] = 0;
  class_expand(layer, at.in, rest, reinterpret_cast<uint32_t*>(at.scratch));
  class_conv_any<false>(share, layer, in, rest, at);
}

}  // namespace tr
