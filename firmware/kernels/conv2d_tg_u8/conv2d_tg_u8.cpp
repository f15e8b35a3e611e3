// Ternary convolution whose channels share sums in fours: on cores with DSP instructions by code
// that is generated into RAM (generate.hpp), block of channels by block, part by part
// (geometry.hpp). The portable body sorts the inputs of a block by class too, and goes through the
// lists.
#include "kernels/conv2d_tg_u8/conv2d_tg_u8.hpp"

#include "kernels/conv2d_tg_u8/generate.hpp"
#include "kernels/conv2d_tg_u8/geometry.hpp"
#include "runtime/code_ram.hpp"
#include "runtime/fixed.hpp"

namespace tr {
namespace {

// One lane of copied windows: the words of a row that lie in the image, and where their pixels are.
struct CopyLane {
  size_t first, end;  // words
  size_t from;        // byte of the first pixel, from the first border word of its row and channel
  size_t lane_left;   // pixels until the source's next lane

  CopyLane(const Conv2D& layer, const TgGeometry& g, uint32_t l) {
    const auto start = static_cast<int32_t>(l * g.step * g.lane) - layer.pad_left;
    const auto left = static_cast<int32_t>(layer.in_w) - start;
    first = start < 0 ? static_cast<size_t>(-start) : 0;
    end = left <= 0                               ? 0
          : static_cast<size_t>(left) < g.stretch ? static_cast<size_t>(left)
                                                  : g.stretch;
    const size_t pixel = start < 0 ? 0 : static_cast<size_t>(start);
    const size_t source_lane = planar_lane_words(layer.in_w);
    from = 4 * (pixel % source_lane + 1) + pixel / source_lane;
    lane_left = source_lane - pixel % source_lane;
  }
};

// The windows of a layer whose own layout does not suit (TgGeometry::direct): every row and channel
// that windows meet, `stretch` words from the first column on, zeros outside the image.
TR_NOINLINE void copy_windows(const Conv2D& layer, const TgGeometry& g, const uint8_t* in,
                              uint32_t* out) {
  const CopyLane lanes[4] = {{layer, g, 0}, {layer, g, 1}, {layer, g, 2}, {layer, g, 3}};
  const size_t source_lane = planar_lane_words(layer.in_w);
  const size_t stretch_bytes = 4 * (source_lane + 2);
  const int32_t rows = (layer.out_h - 1) * layer.stride_y + layer.kernel_h;
  for (int32_t y = -layer.pad_top; y < rows - layer.pad_top; ++y) {
    const bool inside = y >= 0 && y < layer.in_h;
    const uint8_t* channel = in;
    if (inside) channel += static_cast<size_t>(y + 1) * layer.in_c * stretch_bytes;
    for (size_t c = 0; c < layer.in_c; ++c, out += g.stretch) {
      for (size_t x = 0; x < g.stretch; ++x) out[x] = 0;
      for (size_t l = 0; l < 4 && inside; ++l) {
        const uint8_t* pixel = channel + lanes[l].from;
        size_t left = lanes[l].lane_left;
        auto* to = reinterpret_cast<uint8_t*>(out) + l + 4 * lanes[l].first;
        for (size_t x = lanes[l].first; x < lanes[l].end; ++x, to += 4) {
          *to = *pixel;
          pixel += 4;
          if (--left == 0) {
            left = source_lane;
            pixel += 1 - 4 * static_cast<ptrdiff_t>(source_lane);
          }
        }
      }
      if (inside) channel += stretch_bytes;
    }
  }
}

// Where the windows are, and the first of them.
struct Windows {
  const uint32_t* first;
  uint32_t row;  // words from one row of outputs to the next
};

Windows windows(const Conv2D& layer, const TgGeometry& g, const Buffers& at, uint32_t* copy) {
  const uint32_t row = g.row_words * layer.stride_y;
  if (!g.direct) {
    copy_windows(layer, g, at.in, copy);
    return {copy, row};
  }
  const auto* in = reinterpret_cast<const uint32_t*>(at.in);
  return {in + (1u - layer.pad_top) * g.row_words + 1u - layer.pad_left, row};
}

#if TR_DSP

// What lies in scratch, in this order.
struct Work {
  uint32_t heads[tg::kHeads];
  tg::Constants constants;
};

// A convolution while it runs.
struct Run {
  const Conv2D& layer;
  const TgGeometry& g;
  Work& work;
  tg::Frame frame;
  tg::Node* nodes;  // at the start of the shared buffer
};

uint32_t address(const void* at) { return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(at)); }

tg::Finish finish_of(const Run& run, const Buffers& at, uint32_t block, uint32_t part,
                     bool shared) {
  const Requantize& r = run.layer.requantize;
  const uint32_t left = r.channels - 4 * block;
  tg::Finish f;
  f.channels = static_cast<uint8_t>(left < 4 ? left : 4);
  f.shift = r.shift;
  f.bits = r.bits;
  f.in_place = at.operand == at.out;
  f.shared = shared;
  f.step = static_cast<uint16_t>(4 * run.g.step);
  f.stretch = static_cast<uint16_t>(4 * (run.g.lane + 2));
  if (part + 1 != run.g.parts) {
    f.kind = tg::Finish::part;
  } else if (r.finish == Finish::raw) {
    f.kind = tg::Finish::raw;
  } else if (r.multiplier2 == nullptr) {
    f.kind = tg::Finish::plain;
  } else {
    f.kind = r.operand == Type::u8 ? tg::Finish::add8 : tg::Finish::add16;
  }
  return f;
}

void set_constants(tg::Constants& constants, const Requantize& r, const tg::Finish& finish,
                   uint32_t block, const tg::Signs& signs) {
  const uint32_t half = (1u << r.shift) >> 1;
  for (uint32_t i = 0; i < finish.channels; ++i) {
    const uint32_t c = 4 * block + i;
    const int32_t m = r.multiplier[c];
    constants.scale[2 * i] = signs.of[i] < 0 ? -m : m;
    constants.scale[2 * i + 1] = static_cast<int32_t>(static_cast<uint32_t>(r.bias[c]) + half);
    if (r.multiplier2 != nullptr) constants.scale2[i] = r.multiplier2[c];
  }
}

// Inputs of a part, and the codes that stand for them.
struct Part {
  uint32_t inputs, codes;
  Part(const TgGeometry& g, uint32_t part) {
    const uint32_t first = part * g.part_taps;
    inputs = g.taps - first < g.part_taps ? g.taps - first : g.part_taps;
    codes = (inputs + 3) & ~3u;
  }
};

// Run a unit whose sums begin at `code` over all rows.
void run_unit(Run& run, const Buffers& at, const Windows& in, const tg::Finish& finish,
              uint32_t block, uint32_t part, const tg::Signs& signs, const uint32_t* code,
              uint32_t* partial) {
  const Conv2D& layer = run.layer;
  const TgGeometry& g = run.g;
  tg::Frame& frame = run.frame;
  frame.partial = address(partial);
  if (finish.kind == tg::Finish::part) {
    frame.out = 0;
    frame.out_next = 0;
  } else if (finish.kind == tg::Finish::raw) {
    frame.out = 0;
    frame.out_next = 0;
    frame.other = address(at.out) + 32 * block * layer.out_h * g.lane;
  } else {
    const uint32_t stretch = g.lane + 2;
    const uint32_t row_words = layer.requantize.channels * stretch;
    frame.out = address(at.out) + 4 * (row_words + 4 * block * stretch + 1);
    frame.out_next = 4 * (row_words - g.lane);
    if (finish.kind == tg::Finish::add8) frame.other = address(at.operand) - address(at.out);
    if (finish.kind == tg::Finish::add16) {
      frame.other = address(at.operand) + 32 * block * layer.out_h * g.lane;
    }
    set_constants(run.work.constants, layer.requantize, finish, block, signs);
  }
  frame.row_bytes = 4 * g.lane;
  frame.row_end = frame.out + frame.row_bytes;
  frame.in_next = 4 * (in.row - g.step * g.lane);
  frame.rows = layer.out_h;
  frame.code = address(code) | 1u;
  const uint32_t stretches = part * g.part_taps / layer.kernel_w;
  tr_tg_run(&frame, in.first + stretches * g.stretch);
}

bool same(const tg::Finish& a, const tg::Finish& b) {
  return a.kind == b.kind && (a.channels == b.channels || a.kind == tg::Finish::part);
}

// The units of a layer in order, and where the codes of the next one are.
struct Units {
  const Run& run;
  const Buffers& at;
  const uint8_t* codes;
  tg::Signs signs;  // of the unit written last

  // Write the sums of a unit behind a finish; returns the word behind them.
  uint32_t* emit(const tg::Finish& finish, uint32_t part, const uint32_t* finish_at,
                 uint32_t* sums) {
    const Part size(run.g, part);
    const tg::Signs before = signs;
    const uint8_t* const from = codes;
    codes += size.codes;
    return tg::emit_sums(sums, finish_at, finish, from, size.codes, run.nodes, run.work.heads,
                         part != 0 ? &before : nullptr, &signs);
  }
};

// Generate and run, unit after unit, in the buffer that layers share.
void run_shared(Run& run, const Buffers& at, const Windows& in, uint32_t* partial) {
  const TgGeometry& g = run.g;
  const uint32_t blocks = (run.layer.requantize.channels + 3u) / 4u;
  Units units{run, at, reinterpret_cast<const uint8_t*>(run.layer.weights), {}};
  uint32_t* const begin = reinterpret_cast<uint32_t*>(run.nodes + ((g.part_taps + 3) & ~3u));
  uint32_t* sums = nullptr;
  tg::Finish standing{};
  tr_code_open();
  tg::prepare_nodes(run.nodes, g.part_taps, run.layer.kernel_w, 4 * g.stretch);
  for (uint32_t block = 0; block < blocks; ++block) {
    for (uint32_t part = 0; part < g.parts; ++part) {
      const tg::Finish finish = finish_of(run, at, block, part, false);
      tr_code_open();
      if (sums == nullptr || !same(finish, standing)) sums = tg::emit_finish(begin, finish);
      standing = finish;
      const uint32_t* const end = units.emit(finish, part, begin, sums);
      tr_code_close(begin, address(end) - address(begin));
      run_unit(run, at, in, finish, block, part, units.signs, sums, partial);
    }
  }
}

// What the layer's own buffer begins with, a word that says whether the rest is there; then one of
// these per unit, then their code.
struct Kept {
  uint32_t sums;  // words from the start of the buffer
  tg::Signs signs;
};

// The finishes of a layer: of its parts before the last, of its blocks, of a last block with fewer
// channels.
struct Finishes {
  struct {
    tg::Finish finish;
    const uint32_t* at;
  } known[3];
  uint32_t count = 0;

  // The one that does as `finish` says, written at `at` if there is none; `at` moves on.
  const uint32_t* get(const tg::Finish& finish, uint32_t*& at) {
    for (uint32_t i = 0; i < count; ++i) {
      if (same(known[i].finish, finish)) return known[i].at;
    }
    const uint32_t* const made = at;
    known[count++] = {finish, made};
    at = tg::emit_finish(at, finish);
    return made;
  }
};

void generate_kept(Run& run, const Buffers& at) {
  const TgGeometry& g = run.g;
  const uint32_t blocks = (run.layer.requantize.channels + 3u) / 4u;
  Units units{run, at, reinterpret_cast<const uint8_t*>(run.layer.weights), {}};
  Finishes finishes;
  auto* kept = reinterpret_cast<Kept*>(at.kept + 2);
  auto* to = reinterpret_cast<uint32_t*>(kept + blocks * g.parts);
  tr_code_open();
  tg::prepare_nodes(run.nodes, g.part_taps, run.layer.kernel_w, 4 * g.stretch);
  for (uint32_t block = 0; block < blocks; ++block) {
    for (uint32_t part = 0; part < g.parts; ++part, ++kept) {
      const tg::Finish finish = finish_of(run, at, block, part, true);
      const uint32_t* const finish_at = finishes.get(finish, to);
      const auto sums = static_cast<uint32_t>(to - at.kept);
      to = units.emit(finish, part, finish_at, to);
      *kept = {sums, units.signs};
    }
  }
  at.kept[0] = 1;
  tr_code_close(at.kept, address(to) - address(at.kept));
}

void run_kept(Run& run, const Buffers& at, const Windows& in, uint32_t* partial) {
  const TgGeometry& g = run.g;
  const uint32_t blocks = (run.layer.requantize.channels + 3u) / 4u;
  if (at.kept[0] == 0) generate_kept(run, at);
  const auto* kept = reinterpret_cast<const Kept*>(at.kept + 2);
  for (uint32_t block = 0; block < blocks; ++block) {
    for (uint32_t part = 0; part < g.parts; ++part, ++kept) {
      run_unit(run, at, in, finish_of(run, at, block, part, true), block, part, kept->signs,
               at.kept + kept->sums, partial);
    }
  }
}

#endif

}  // namespace

#if TR_DSP

void conv2d_tg_u8(const Conv2D& layer, const Buffers& at, uint32_t split, uint32_t keep) {
  const TgGeometry g(layer, split);
  auto& work = *reinterpret_cast<Work*>(at.scratch);
  uint32_t* const partial = reinterpret_cast<uint32_t*>(at.scratch + sizeof(Work));
  uint32_t* const copy = partial + (g.parts > 1 ? 8 * layer.out_h * g.lane : 0);
  const Windows in = windows(layer, g, at, copy);
  Run run{layer, g, work, {}, reinterpret_cast<tg::Node*>(at.code)};
  run.frame.constants = &work.constants;
  if (keep != 0) {
    run_kept(run, at, in, partial);
  } else {
    run_shared(run, at, in, partial);
  }
  if (layer.requantize.finish != Finish::raw) {
    planar_close(at.out, layer.out_h, layer.out_w, layer.requantize.channels);
  }
}

#else

namespace {

// Inputs of a block by class: for class k (codes 41 to 80: k = 0 .. 39) the words to add begin at
// offsets[first[2k]], those to subtract at offsets[first[2k + 1]].
struct Classes {
  uint16_t first[kTgCodes + 1];
  uint16_t* offsets;
};

uint32_t slot_of(uint32_t code) {
  return code > kTgZero ? 2 * (code - kTgZero - 1) : 2 * (kTgZero - code - 1) + 1;
}

// Sort the block's codes; returns the first of the next block's.
const uint8_t* sort_block(const Conv2D& layer, const TgGeometry& g, const uint8_t* codes,
                          Classes& classes) {
  uint16_t counts[kTgCodes] = {};
  for (int pass = 0; pass < 2; ++pass) {
    const uint8_t* code = codes;
    uint32_t input = 0;
    for (uint32_t part = 0; part < g.parts; ++part) {
      const uint32_t end = input + g.part_taps < g.taps ? input + g.part_taps : g.taps;
      const uint32_t filled = (end - input + 3) & ~3u;
      for (uint32_t i = 0; input + i < end; ++i) {
        if (code[i] == kTgZero) continue;
        const uint32_t k = input + i;
        uint16_t& n = counts[slot_of(code[i])];
        if (pass == 1) {
          classes.offsets[n] =
              static_cast<uint16_t>(k / layer.kernel_w * g.stretch + k % layer.kernel_w);
        }
        ++n;
      }
      code += filled;
      input = end;
    }
    if (pass == 1) return code;
    uint32_t sum = 0;
    for (uint32_t s = 0; s < kTgCodes - 1; ++s) {
      classes.first[s] = static_cast<uint16_t>(sum);
      sum += counts[s];
      counts[s] = classes.first[s];
    }
    classes.first[kTgCodes - 1] = static_cast<uint16_t>(sum);
  }
  return codes;
}

// Two int16 sums in a word each: pixels 0 and 2, 1 and 3; words add and subtract without regard to
// the border between the halves, which comes right when they are taken apart.
struct Pair {
  uint32_t even, odd;
};

inline void add_inputs(Pair& sum, const uint32_t* window, const uint16_t* from,
                       const uint16_t* to) {
  for (; from != to; ++from) {
    const uint32_t word = window[*from];
    sum.even += uxtb16(word);
    sum.odd += uxtb16_ror8(word);
  }
}

// The sums of the four channels for the four pixels of a window word.
void sum_window(const Classes& classes, const uint32_t* window, Pair* channels) {
  Pair by_class[kTgZero + 1];  // of prefixes of fewer trits as the tree goes on; [0]: nothing
  const uint16_t* offsets = classes.offsets;
  for (uint32_t k = 0; k < kTgZero; ++k) {
    Pair plus{0, 0}, minus{0, 0};
    add_inputs(plus, window, offsets + classes.first[2 * k], offsets + classes.first[2 * k + 1]);
    add_inputs(minus, window, offsets + classes.first[2 * k + 1],
               offsets + classes.first[2 * k + 2]);
    by_class[k + 1] = {plus.even - minus.even, plus.odd - minus.odd};
  }
  // Class index i (1 .. half) of trits (.., w): prefix (i + 1) / 3, w = i - 3 * prefix.
  for (uint32_t channel = 4, half = kTgZero; channel-- != 0;) {
    Pair own = by_class[1];
    half = (half - 1) / 3;
    for (uint32_t prefix = 1; prefix <= half; ++prefix) {
      const Pair less = by_class[3 * prefix - 1], none = by_class[3 * prefix],
                 more = by_class[3 * prefix + 1];
      own = {own.even + more.even - less.even, own.odd + more.odd - less.odd};
      by_class[prefix] = {none.even + more.even + less.even, none.odd + more.odd + less.odd};
    }
    channels[channel] = own;
  }
}

int32_t low(uint32_t sums) { return static_cast<int16_t>(sums); }
int32_t high(uint32_t sums) {
  return static_cast<int16_t>((sums - static_cast<uint32_t>(low(sums))) >> 16);
}

// What becomes of a channel's four pixels.
void finish_word(const Conv2D& layer, const TgGeometry& g, const Buffers& at, size_t c, size_t y,
                 size_t x, const Pair& sums) {
  const Requantize& r = layer.requantize;
  const int32_t acc[4] = {low(sums.even), low(sums.odd), high(sums.even), high(sums.odd)};
  const size_t element = planar_element16(layer.out_h, layer.out_w, y, c, x);
  if (r.finish == Finish::raw) {
    auto* out = reinterpret_cast<int16_t*>(at.out) + element;
    for (size_t l = 0; l < 4; ++l) out[(l & 1) * 2 + (l >> 1)] = static_cast<int16_t>(acc[l]);
    return;
  }
  const size_t byte = 4 * planar_word(layer.out_w, r.channels, y + 1, c, x + 1);
  const auto* operand16 = reinterpret_cast<const int16_t*>(at.operand) + element;
  uint32_t word = 0;
  for (size_t l = 0; l < 4; ++l) {
    int32_t t = r.bias[c] + scale(r.multiplier[c], acc[l]);
    if (r.multiplier2 != nullptr) {
      const int32_t other =
          r.operand == Type::u8 ? at.operand[byte + l] : operand16[(l & 1) * 2 + (l >> 1)];
      t += scale(r.multiplier2[c], other);
    }
    word |= static_cast<uint32_t>(quantise(r, t)) << (8 * l);
  }
  static_cast<void>(g);
  *reinterpret_cast<uint32_t*>(at.out + byte) = word;
}

}  // namespace

void conv2d_tg_u8(const Conv2D& layer, const Buffers& at, uint32_t split, uint32_t keep) {
  static_cast<void>(keep);
  const TgGeometry g(layer, split);
  Classes classes;
  classes.offsets = reinterpret_cast<uint16_t*>(at.scratch);
  const size_t list_bytes = (2 * g.taps + 7) & ~7u;
  const Windows in = windows(layer, g, at, reinterpret_cast<uint32_t*>(at.scratch + list_bytes));
  const auto* codes = reinterpret_cast<const uint8_t*>(layer.weights);
  const size_t channels = layer.requantize.channels;
  for (size_t c = 0; c < channels; c += 4) {
    codes = sort_block(layer, g, codes, classes);
    const size_t n = channels - c < 4 ? channels - c : 4;
    for (size_t y = 0; y < layer.out_h; ++y) {
      const uint32_t* window = in.first + y * in.row;
      for (size_t x = 0; x < g.lane; ++x, window += g.step) {
        Pair sums[4];
        sum_window(classes, window, sums);
        for (size_t i = 0; i < n; ++i) finish_word(layer, g, at, c + i, y, x, sums[i]);
      }
    }
  }
  if (layer.requantize.finish != Finish::raw) {
    planar_close(at.out, layer.out_h, layer.out_w, channels);
  }
}

#endif

}  // namespace tr
