#include "kernels/conv2d_tcc_u8/conv2d_tcc_u8.hpp"

#include "runtime/class_expand.hpp"
#include "runtime/class_finish.hpp"

namespace tr {

// Scratch: the sums of one row of a block, eight words for every word of the output.
void conv2d_tcc_u8(const Conv2D& layer, const Buffers& at, CompiledLayer blocks) {
  constexpr size_t channels = 4;  // of a block
  const ClassInput in = class_planar_input(layer, at, false);
  const ClassFinish<true> finish(layer, 2 * channels);
  uint32_t* row = reinterpret_cast<uint32_t*>(at.scratch);
  const size_t out_c = layer.requantize.channels;
  for (size_t c = 0; c < out_c; c += channels, ++blocks) {
    const CompiledBlock run = *blocks;
    const size_t n = out_c - c < channels ? out_c - c : channels;
    const uint8_t* base = in.first;
    for (size_t y = 0; y < layer.out_h; ++y, base += in.row) {
      run(base, row, static_cast<uint32_t>(in.lane), static_cast<uint32_t>(in.word));
      for (size_t j = 0; j < n; ++j) finish(y, c + j, row + 2 * j, at);
    }
  }
  if (layer.requantize.finish != Finish::raw) {
    planar_close(at.out, layer.out_h, layer.out_w, out_c);
  }
}

}  // namespace tr
