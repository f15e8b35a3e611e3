#include "runtime/planar.hpp"

namespace tr {
namespace {

// As a loop of its own: the compiler would call memset.
void clear(uint32_t* word, size_t words) {
  for (; words >= 4; words -= 4, word += 4) {
    word[0] = word[1] = word[2] = word[3] = 0;
    __asm volatile("" : "+r"(word)::"memory");
  }
  for (; words != 0; --words) {
    *word++ = 0;
    __asm volatile("" : "+r"(word)::"memory");
  }
}

// Lanes of word x (0 .. S - 1) whose pixel is within the width.
uint32_t mask(size_t width, size_t lane, size_t x) {
  uint32_t kept = 0;
  for (size_t l = 0; l < 4 && l * lane + x < width; ++l) kept |= 0xffu << (8 * l);
  return kept;
}

}  // namespace

void planar_close(uint8_t* tensor, size_t height, size_t width, size_t channels) {
  const size_t lane = planar_lane_words(width);
  const size_t stretch = lane + 2;
  const size_t row_words = channels * stretch;
  uint32_t* word = reinterpret_cast<uint32_t*>(tensor);
  clear(word, row_words);
  clear(word + (height + 1) * row_words, row_words);
  word += row_words;
  if (4 * lane != width) {  // the last lanes reach beyond the image
    for (size_t x = 0; x < lane; ++x) {
      const uint32_t kept = mask(width, lane, x);
      if (kept == ~0u) continue;
      uint32_t* at = word + 1 + x;
      for (size_t n = height * channels; n != 0; --n, at += stretch) *at &= kept;
    }
  }
  for (size_t n = height * channels; n != 0; --n, word += stretch) {
    word[0] = word[lane] << 8;
    word[lane + 1] = word[1] >> 8;
  }
}

void planar_from_hwc(const uint8_t* in, uint8_t* out, size_t height, size_t width, size_t channels,
                     uint32_t shift) {
  const size_t lane = planar_lane_words(width);
  const size_t apart = lane * channels;  // from a lane's pixel to the next lane's
  const uint32_t kept = 0x01010101u * (0xffu >> shift);
  // How many words of a row have all four pixels: the last lane is the one that ends early.
  const size_t whole = width > 3 * lane ? width - 3 * lane : 0;
  uint32_t* word = reinterpret_cast<uint32_t*>(out) + channels * (lane + 2) + 1;
  for (size_t y = 0; y < height; ++y, in += width * channels) {
    for (size_t c = 0; c < channels; ++c, word += lane + 2) {
      const uint8_t* pixel = in + c;
      size_t x = 0;
      for (; x < whole; ++x, pixel += channels) {
        const uint32_t four = pixel[0] | static_cast<uint32_t>(pixel[apart]) << 8 |
                              static_cast<uint32_t>(pixel[2 * apart]) << 16 |
                              static_cast<uint32_t>(pixel[3 * apart]) << 24;
        word[x] = (four >> shift) & kept;
      }
      for (; x < lane; ++x, pixel += channels) {
        uint32_t four = 0;
        for (size_t l = 0; l < 4 && l * lane + x < width; ++l) {
          four |= static_cast<uint32_t>(pixel[l * apart]) << (8 * l);
        }
        word[x] = (four >> shift) & kept;
      }
    }
  }
  planar_close(out, height, width, channels);
}

}  // namespace tr
