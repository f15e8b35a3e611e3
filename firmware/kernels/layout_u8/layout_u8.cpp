#include "kernels/layout_u8/layout_u8.hpp"

#include "runtime/planar.hpp"

namespace tr {
namespace {

void to_hwc8(const LayoutChange& layer, const uint8_t* in, uint8_t* out) {
  const size_t lane = planar_lane_words(layer.width);
  const size_t apart = lane * layer.channels;
  const size_t whole = layer.width > 3 * lane ? layer.width - 3 * lane : 0;
  const auto* word = reinterpret_cast<const uint32_t*>(in) + layer.channels * (lane + 2) + 1;
  for (size_t y = 0; y < layer.height;
       ++y, out += static_cast<size_t>(layer.width) * layer.channels) {
    for (size_t c = 0; c < layer.channels; ++c, word += lane + 2) {
      uint8_t* pixel = out + c;
      for (size_t x = 0; x < lane; ++x, pixel += layer.channels) {
        const uint32_t four = word[x];
        pixel[0] = static_cast<uint8_t>(four);
        if (x < whole) {
          pixel[apart] = static_cast<uint8_t>(four >> 8);
          pixel[2 * apart] = static_cast<uint8_t>(four >> 16);
          pixel[3 * apart] = static_cast<uint8_t>(four >> 24);
          continue;
        }
        for (size_t l = 1; l < 4 && l * lane + x < layer.width; ++l) {
          pixel[l * apart] = static_cast<uint8_t>(four >> (8 * l));
        }
      }
    }
  }
}

void change16(const LayoutChange& layer, const int16_t* in, int16_t* out) {
  size_t dense = 0;
  for (size_t y = 0; y < layer.height; ++y) {
    for (size_t x = 0; x < layer.width; ++x) {
      for (size_t c = 0; c < layer.channels; ++c, ++dense) {
        const size_t planar = planar_element16(layer.height, layer.width, y, c, x);
        if (layer.to_planar) {
          out[planar] = in[dense];
        } else {
          out[dense] = in[planar];
        }
      }
    }
  }
}

}  // namespace

void layout_u8(const LayoutChange& layer, const Buffers& at) {
  if (layer.type == Type::i16) {
    change16(layer, reinterpret_cast<const int16_t*>(at.in), reinterpret_cast<int16_t*>(at.out));
  } else if (layer.to_planar) {
    planar_from_hwc(at.in, at.out, layer.height, layer.width, layer.channels, 0);
  } else {
    to_hwc8(layer, at.in, at.out);
  }
}

}  // namespace tr
