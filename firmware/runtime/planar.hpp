// The layout `planar4`: four pixels of one channel in a word, so that byte lanes work on them.
//
// u8 tensors (H, W, C). With S = ceil(W / 4), a word holds the pixels x, x + S, x + 2S, x + 3S of
// one row and channel in its bytes 0 to 3 (x = 0 .. S - 1): lanes are far apart, so that moving a
// window by one pixel is moving by one word. One row of one channel is S + 2 words:
//
//   word   0         1 .. S      S + 1
//   x     -1         0 .. S - 1  S
//
// The border words at x = -1 and x = S follow the same rule: lane l holds pixel l * S + x, which is
// the neighbouring lane's last or first pixel (the seam), or a zero outside the image. Lanes whose
// pixel is W or more hold zero too. A row is C such stretches, channel after channel; the tensor is
// a row of zeros, H rows, a row of zeros. So the word of (y, x, c) has index
// ((y + 1) * C + c) * (S + 2) + x + 1, the neighbouring channel is S + 2 words away, and channel c
// of the next row is where channel c + C of this row would be: a window's (row, channel) pairs in
// that order are equally far apart.
//
// A step writes words 1 .. S of every row and channel and calls planar_close, which makes the
// border rows, the seams and the zeros beyond W.
//
// i16 tensors (H, W, C), accumulators of a shortcut: channels in blocks of four, then rows, then
// x = 0 .. S - 1, then the block's four channels, each two words of two halfwords: pixels x and
// x + 2S, then x + S and x + 3S (what UXTAB16 makes of the bytes). There is no border; pixels
// beyond W and channels beyond C hold anything.
//
// toolchain/tinyrobust/kernels/planar.py is the same in Python.
#ifndef TR_RUNTIME_PLANAR_HPP
#define TR_RUNTIME_PLANAR_HPP

#include <stddef.h>
#include <stdint.h>

#include "runtime/dsp.hpp"

namespace tr {

// Words of one lane: S.
constexpr size_t planar_lane_words(size_t width) { return (width + 3) / 4; }

// Words of one row of one channel, borders included.
constexpr size_t planar_row_words(size_t width) { return planar_lane_words(width) + 2; }

// Index of the word that holds x (-1 .. S) of row y (-1 .. H) and channel c; y and x count from
// their borders here (y + 1, x + 1), so that nothing is negative.
constexpr size_t planar_word(size_t width, size_t channels, size_t y_from_border, size_t c,
                             size_t x_from_border) {
  return (y_from_border * channels + c) * planar_row_words(width) + x_from_border;
}

// Bytes of a u8 tensor.
constexpr size_t planar_bytes(size_t height, size_t width, size_t channels) {
  return (height + 2) * channels * planar_row_words(width) * 4;
}

// Byte of pixel x (0 .. W - 1), for loops that need not be quick.
inline size_t planar_byte(size_t width, size_t channels, size_t y, size_t c, size_t x) {
  const size_t lane = planar_lane_words(width);
  return 4 * planar_word(width, channels, y + 1, c, x % lane + 1) + x / lane;
}

// Element of an i16 tensor.
inline size_t planar_element16(size_t height, size_t width, size_t y, size_t c, size_t x) {
  const size_t lane = planar_lane_words(width);
  const size_t group = ((c / 4 * height + y) * lane + x % lane) * 16;
  const size_t l = x / lane;
  return group + c % 4 * 4 + (l & 1) * 2 + (l >> 1);
}

// Border rows, seams, and zeros beyond the width of a u8 tensor whose words 1 .. S are written.
void planar_close(uint8_t* tensor, size_t height, size_t width, size_t channels);

// A u8 tensor from HWC, every value shifted right by `shift`, and closed.
void planar_from_hwc(const uint8_t* in, uint8_t* out, size_t height, size_t width, size_t channels,
                     uint32_t shift);

}  // namespace tr

#endif
