// The body of the convolutions over class lists: block of K channels after block, the lists made
// from the block's codes, then every row of the output in groups of two words (planar.hpp).
//
// Scratch: the input as planar words where it is not in that layout already, then the parts of
// ClassParts: the byte offset of every input, the cursors of the codes, the sums of the classes,
// the sums of a row of the output, the steps and the entries of the lists.
#ifndef TR_RUNTIME_CLASS_CONV_HPP
#define TR_RUNTIME_CLASS_CONV_HPP

#include "runtime/class_finish.hpp"
#include "runtime/class_lists.hpp"

namespace tr {

// Where the input's words lie: the word of (block b, output row y, output word x, channel c, kernel
// row i, column j) is `first` + b * block + y * row + x * word + ((i * in_c + c) * stretch + j * 4)
// bytes.
struct ClassInput {
  const uint8_t* first;
  size_t row;
  size_t word;
  size_t stretch;
  size_t lane;      // words in a row of the output
  size_t channels;  // of a window: in_c, or 1 where every channel has a window of its own
  size_t block;     // 0, or `stretch` with windows of one channel
};

struct ClassParts {
  uint16_t* offsets;
  uint32_t* cursors;
  ClassSums* sums;
  uint32_t* row;
  uint32_t* steps;
  uint32_t* entries;
};

// Trits of every class: the signs with which it enters the outputs.
template <size_t K>
struct ClassTrits {
  int8_t of[ClassCodes<K>::classes][K];
};

template <size_t... I>
struct Indices {};
template <size_t N, size_t... I>
struct IndicesTo : IndicesTo<N - 1, N - 1, I...> {};
template <size_t... I>
struct IndicesTo<0, I...> {
  using list = Indices<I...>;
};

template <size_t K, size_t... I>
constexpr ClassTrits<K> class_trits(Indices<I...>) {
  return {{static_cast<int8_t>(gray_trit(K, I % K, I / K))...}};
}

// The byte offset of every input of the window in the order of the weights, filled up to `padded`.
inline TR_NOINLINE void class_offsets(const Conv2D& layer, const ClassInput& in, size_t padded,
                                      uint16_t* offsets) {
  const uint16_t* end = offsets + padded;
  for (size_t i = 0; i < layer.kernel_h; ++i) {
    for (size_t j = 0; j < layer.kernel_w; ++j) {
      size_t offset = i * layer.in_c * in.stretch + 4 * j;
      for (size_t c = in.channels; c != 0; --c, offset += in.stretch) {
        *offsets++ = static_cast<uint16_t>(offset);
      }
    }
  }
  while (offsets != end) *offsets++ = 0;
}

// Make the lists of the block whose codes are at `codes`; returns the codes of the next block.
// `excess[j]`: what complements add to every pixel of output j.
template <size_t K>
TR_NOINLINE const uint32_t* class_lists(const uint32_t* codes, size_t words, StepWriter steps,
                                        const ClassParts& parts, uint32_t* excess) {
  using C = ClassCodes<K>;
  static constexpr ClassTrits<K> trits = class_trits<K>(typename IndicesTo<C::classes * K>::list());
  constexpr uint32_t mask = (1u << C::bits) - 1;
  uint32_t* cursors = parts.cursors;
  for (size_t i = 0; i < C::codes; ++i) cursors[i] = 0;
  for (size_t n = 0; n < words; ++n) {
    uint32_t word = codes[n];
    TR_UNROLL
    for (size_t i = 0; i < C::per_word; ++i, word >>= C::bits) ++cursors[word & mask];
  }
  for (size_t j = 0; j < K; ++j) excess[j] = 0;
  uint32_t entry = 0;  // bytes from the first one
  for (size_t k = 0; k < C::classes; ++k) {
    uint32_t& plus = cursors[k];
    uint32_t& minus = cursors[C::codes - 1 - k];
    const uint32_t too_much = steps.add(plus, minus);
    if (too_much != 0) {
      for (size_t j = 0; j < K; ++j) {
        excess[j] += too_much * static_cast<uint32_t>(static_cast<int32_t>(trits.of[k][j]));
      }
    }
    const uint32_t bytes = 4 * (plus > minus ? plus : minus);
    plus = entry;
    minus = entry + 2;
    entry += bytes;
  }
  steps.end();
  cursors[C::zero] = entry;  // behind the lists, where nobody looks
  uint8_t* entries = reinterpret_cast<uint8_t*>(parts.entries);
  const uint16_t* offset = parts.offsets;
  for (size_t n = 0; n < words; ++n) {
    uint32_t word = codes[n];
    TR_UNROLL
    for (size_t i = 0; i < C::per_word; ++i, word >>= C::bits) {
      uint32_t& cursor = cursors[word & mask];
      __builtin_memcpy(entries + cursor, offset++, 2);
      cursor += 4;
    }
  }
#if TR_DSP
  for (size_t j = 0; j < K; ++j) excess[j] = (excess[j] & 0xffffu) * 0x00010001u;
#endif
  return codes + words;
}

// One word of the K outputs, two words of halfwords each.
template <size_t K, size_t word>
TR_INLINE void class_spread(const ClassSums* sums, const uint32_t* excess, uint32_t* to) {
  uint32_t acc[K][2];
  lists_spread<K, word>(sums, excess, acc);
  for (size_t j = 0; j < K; ++j) {
    to[2 * j] = acc[j][0];
    to[2 * j + 1] = acc[j][1];
  }
}

// The sums of one row of the output for the block, word x of output j in row[(x * K + j) * 2].
template <size_t K>
TR_NOINLINE void class_row(const Lists& lists, const ClassInput& in, const uint8_t* base,
                           bool strided, ClassSums* sums, const uint32_t* excess, uint32_t* row) {
  const size_t lane = in.lane;
  for (size_t x = 0; x < lane; x += 2) {
    // A last single word is computed once more together with the one before it.
    const size_t at = x + 1 < lane || x == 0 ? x : x - 1;
    if (strided) {
      lists_run<true>(lists, base + at * in.word, sums);
    } else {
      lists_run<false>(lists, base + at * in.word, sums);
    }
    uint32_t* to = row + 2 * K * at;
    class_spread<K, 0>(sums, excess, to);
    if (lane == 1) return;
    class_spread<K, 1>(sums, excess, to + 2 * K);
  }
}

// The parts of the scratch memory from `at` on.
template <size_t K>
TR_INLINE ClassParts class_parts(uint8_t* at, size_t padded, size_t inputs, size_t lane) {
  using C = ClassCodes<K>;
  ClassParts parts;
  parts.offsets = reinterpret_cast<uint16_t*>(at);
  parts.cursors = reinterpret_cast<uint32_t*>(at) + (padded + 1) / 2;
  parts.sums = reinterpret_cast<ClassSums*>(parts.cursors + C::codes);
  parts.row = reinterpret_cast<uint32_t*>(parts.sums + C::classes);
  parts.steps = parts.row + 2 * K * lane;
  // at most three steps for a class, and one more for every lists_unroll pairs
  parts.entries = parts.steps + 3 * C::classes + inputs / (2 * lists_unroll) + 1;
  return parts;
}

template <size_t K, bool planar>
TR_INLINE void class_conv(const Conv2D& layer, const ClassInput& in, uint8_t* scratch,
                          const Buffers& at) {
  const size_t inputs = static_cast<size_t>(layer.kernel_h) * layer.kernel_w * in.channels;
  const size_t words = (inputs + ClassCodes<K>::per_word - 1) / ClassCodes<K>::per_word;
  const size_t padded = words * ClassCodes<K>::per_word;
  const ClassParts parts = class_parts<K>(scratch, padded, inputs, in.lane);
  const size_t out_c = layer.requantize.channels;
  const ClassFinish<planar> finish(layer, 2 * K);
  class_offsets(layer, in, padded, parts.offsets);
  const bool strided = in.word != 4 || in.lane == 1;
  const Lists lists = {parts.entries, parts.steps, in.lane == 1 ? 0 : in.word};
  const uint32_t code = strided ? lists_run<true>(lists, nullptr, nullptr)
                                : lists_run<false>(lists, nullptr, nullptr);
  const StepWriter steps(parts.steps, strided, code);
  const uint32_t* codes = layer.weights;
  uint32_t excess[K];
  const uint8_t* first = in.first;
  for (size_t c = 0; c < out_c; c += K, first += in.block) {
    codes = class_lists<K>(codes, words, steps, parts, excess);
    const size_t n = out_c - c < K ? out_c - c : K;
    const uint8_t* base = first;
    for (size_t y = 0; y < layer.out_h; ++y, base += in.row) {
      class_row<K>(lists, in, base, strided, parts.sums, excess, parts.row);
      for (size_t j = 0; j < n; ++j) finish(y, c + j, parts.row + 2 * j, at);
    }
  }
}

// class_conv() for any number of channels that share.
template <bool planar>
TR_INLINE void class_conv_any(uint32_t share, const Conv2D& layer, const ClassInput& in,
                              uint8_t* scratch, const Buffers& at) {
  switch (share) {
    case 1:
      return class_conv<1, planar>(layer, in, scratch, at);
    case 2:
      return class_conv<2, planar>(layer, in, scratch, at);
    case 3:
      return class_conv<3, planar>(layer, in, scratch, at);
    default:
      return class_conv<4, planar>(layer, in, scratch, at);
  }
}

}  // namespace tr

#endif
