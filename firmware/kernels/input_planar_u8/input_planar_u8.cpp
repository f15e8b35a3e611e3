#include "kernels/input_planar_u8/input_planar_u8.hpp"

#include "runtime/planar.hpp"

namespace tr {

void input_planar_u8(const Input& layer, const Buffers& at) {
  planar_from_hwc(at.in, at.out, layer.height, layer.width, layer.channels, layer.shift);
}

}  // namespace tr
