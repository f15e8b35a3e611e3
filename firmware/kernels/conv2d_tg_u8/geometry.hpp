// conv2d_tg_u8: where the windows of a convolution lie in planar4, and how its codes are cut.
//
// Weights are bytes: the code of an input is (w0 + 1) * 27 + (w1 + 1) * 9 + (w2 + 1) * 3 + w3 + 1
// for its trits of four neighbouring output channels (absent channels are zero). The inputs of a
// window come in the order kernel row, channel, kernel column; they are cut into parts of
// part_taps inputs (whole kernel columns), and every part is filled up to a multiple of four with
// code 40. kernels/tg.py is the same in Python.
#ifndef TR_KERNELS_CONV2D_TG_U8_GEOMETRY_HPP
#define TR_KERNELS_CONV2D_TG_U8_GEOMETRY_HPP

#include "runtime/layers.hpp"
#include "runtime/planar.hpp"

namespace tr {

constexpr uint32_t kTgCodes = 81;    // 3^4
constexpr uint32_t kTgZero = 40;     // all four trits are zero
constexpr uint32_t kTgReach = 4096;  // bytes that a load's offset can reach (LDR immediate, T3)

struct TgGeometry {
  uint32_t taps;       // inputs of a window
  uint32_t part_taps;  // of one part; the last may be shorter
  uint32_t parts;
  uint32_t lane;       // words of a row of output: S
  uint32_t step;       // words from one output's window to the next
  uint32_t stretch;    // words from one channel to the next in the input
  uint32_t row_words;  // words from one window row to the next
  bool direct;         // windows lie in the source itself; else they are copied first

  TgGeometry(const Conv2D& layer, uint32_t split) {
    taps = static_cast<uint32_t>(layer.kernel_h) * layer.in_c * layer.kernel_w;
    lane = static_cast<uint32_t>(planar_lane_words(layer.out_w));
    step = layer.stride_x;
    const uint32_t source_lane = static_cast<uint32_t>(planar_lane_words(layer.in_w));
    const uint32_t columns = (lane - 1) * step + layer.kernel_w;  // words that a row's windows span
    const uint32_t rows = (layer.out_h - 1u) * layer.stride_y + layer.kernel_h;
    direct = source_lane == step * lane && layer.pad_left <= 1 && layer.pad_top <= 1 &&
             columns <= source_lane + 1u + layer.pad_left &&
             rows <= layer.in_h + 1u + layer.pad_top;
    stretch = direct ? source_lane + 2 : columns;
    row_words = stretch * layer.in_c;
    const uint32_t columns_reached = (kTgReach - 4 * layer.kernel_w) / (4 * stretch) + 1;
    uint32_t most =
        split < columns_reached * layer.kernel_w ? split / layer.kernel_w : columns_reached;
    if (most == 0) most = 1;
    const uint32_t stretches = taps / layer.kernel_w;
    parts = (stretches + most - 1) / most;
    part_taps = (stretches + parts - 1) / parts * layer.kernel_w;
  }
};

}  // namespace tr

#endif
