// The body of the convolutions whose weights are compiled.
#ifndef TR_RUNTIME_CLASS_COMPILED_CONV_HPP
#define TR_RUNTIME_CLASS_COMPILED_CONV_HPP

#include "runtime/class_compiled.hpp"
#include "runtime/class_expand.hpp"
#include "runtime/class_finish.hpp"

namespace tr {

// Scratch: the sums of one row of a block, eight words for every word of the output.
template <bool depthwise>
TR_INLINE void class_compiled(const Conv2D& layer, const Buffers& at, CompiledLayer blocks) {
  constexpr size_t channels = 4;  // of a block
  const ClassInput in = class_planar_input(layer, at, depthwise);
  const ClassFinish<true> finish(layer, 2 * channels);
  uint32_t* row = reinterpret_cast<uint32_t*>(at.scratch);
  const size_t out_c = layer.requantize.channels;
  const uint8_t* first = in.first;
  for (size_t c = 0; c < out_c; c += channels, ++blocks, first += channels * in.block) {
    const CompiledBlock run = *blocks;
    const size_t n = out_c - c < channels ? out_c - c : channels;
    const uint8_t* base = first;
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

#endif
