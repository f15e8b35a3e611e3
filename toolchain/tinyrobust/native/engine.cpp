// Layers of a network on floats that hold integers, for the processor this file is compiled for.
//
// Tensors are dense, NHWC. A convolution's sums are exact as long as every partial sum is an
// integer below 2^24, which the caller proves; requantisation is exact throughout. The same
// convolution serves the backward pass, where the floats are floats. Where a convolution's input
// holds bytes, they are multiplied as bytes, four at a time, and summed as 32-bit integers.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#ifdef __AVX512VNNI__
#include <immintrin.h>
#endif

namespace {

using std::int32_t;
using std::int64_t;
using std::int8_t;
using std::size_t;
using std::uint8_t;

constexpr size_t kLanes = 16;  // output channels side by side: one AVX-512 register
typedef float Vector __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t Sums __attribute__((vector_size(64), aligned(4), may_alias));
typedef int8_t Weights __attribute__((vector_size(64), aligned(1), may_alias));
constexpr size_t kBytes = 4;  // values of one kernel row that meet the weights together

struct Shape {
  size_t height, width, channels;
};

// What a convolution reads: its input with `insert - 1` zeros between pixels, and pads around.
// Of bytes, `add` makes the input's integers bytes, and a zero of the sums is the byte `zero`.
template <class T>
struct Padded {
  size_t row;  // values in a padded row
  std::vector<T> values;

  void fill(const float* x, Shape in, const int32_t* pads, const int32_t* insert, int32_t add,
            T zero) {
    const size_t top = size_t(pads[0]), bottom = size_t(pads[1]), left = size_t(pads[2]),
                 right = size_t(pads[3]), down = size_t(insert[0]), along = size_t(insert[1]);
    const size_t c = in.channels;
    row = (left + (in.width - 1) * along + 1 + right) * c;
    // Some more, since the last quadruple of a row may reach beyond it, with weights of 0.
    values.assign((top + (in.height - 1) * down + 1 + bottom) * row + kBytes, zero);
    for (size_t y = 0; y < in.height; y++) {
      T* to = &values[(top + y * down) * row + left * c];
      const float* from = x + y * in.width * c;
      if (along == 1) {
        copy(from, in.width * c, add, to);
        continue;
      }
      for (size_t i = 0; i < in.width; i++) copy(from + i * c, c, add, to + i * along * c);
    }
  }

  static void copy(const float* __restrict from, size_t count, int32_t, float* __restrict to) {
    std::memcpy(to, from, count * sizeof(float));
  }

  static void copy(const float* __restrict from, size_t count, int32_t add,
                   uint8_t* __restrict to) {
    for (size_t k = 0; k < count; k++) to[k] = uint8_t(int32_t(from[k]) + add);
  }
};

// P pixels of one row by V vectors of output channels. `run` floats lie side by side under one
// kernel row; weights are [rows][run][kLanes] for each vector, `block` floats apart.
template <int P, int V>
void tile(const float* x, size_t row, size_t rows, size_t run, size_t step, const float* weights,
          size_t block, float* out, size_t channels, size_t lanes) {
  Vector sums[P][V] = {};
  for (size_t i = 0; i < rows; i++) {
    const float* from = x + i * row;
    for (size_t k = 0; k < run; k++, weights += kLanes) {
      Vector w[V];
      for (int v = 0; v < V; v++) {
        std::memcpy(&w[v], weights + size_t(v) * block, sizeof(Vector));
      }
      for (int p = 0; p < P; p++) {
        for (int v = 0; v < V; v++) sums[p][v] += from[k + size_t(p) * step] * w[v];
      }
    }
  }
  for (int p = 0; p < P; p++) {
    for (int v = 0; v < V; v++) {
      const size_t count = v == V - 1 ? lanes - size_t(v) * kLanes : kLanes;
      float* to = out + size_t(p) * channels + size_t(v) * kLanes;
      std::memcpy(to, &sums[p][v], count * sizeof(float));
    }
  }
}

using Tile = void (*)(const float*, size_t, size_t, size_t, size_t, const float*, size_t, float*,
                      size_t, size_t);
constexpr size_t kPixels = 8;
constexpr Tile kTiles[2][kPixels] = {
    {tile<1, 1>, tile<2, 1>, tile<3, 1>, tile<4, 1>, tile<5, 1>, tile<6, 1>, tile<7, 1>,
     tile<8, 1>},
    {tile<1, 2>, tile<2, 2>, tile<3, 2>, tile<4, 2>, tile<5, 2>, tile<6, 2>, tile<7, 2>,
     tile<8, 2>},
};

// Four neighbouring bytes, unsigned, times each lane's four weights, added to its sum.
inline Sums dot(Sums sums, const uint8_t* bytes, const Weights& weights) {
#ifdef __AVX512VNNI__
  int32_t all;
  std::memcpy(&all, bytes, kBytes);
  return Sums(_mm512_dpbusd_epi32(__m512i(sums), _mm512_set1_epi32(all), __m512i(weights)));
#else
  for (size_t lane = 0; lane < kLanes; lane++) {
    for (size_t i = 0; i < kBytes; i++) {
      sums[lane] += int32_t(bytes[i]) * int32_t(weights[kBytes * lane + i]);
    }
  }
  return sums;
#endif
}

// `tile` on bytes: `run` quadruples lie under one kernel row; weights are [rows][run][kLanes][4],
// and every sum begins at its channel's of `start`.
template <int P, int V>
void byte_tile(const uint8_t* x, size_t row, size_t rows, size_t run, size_t step,
               const int8_t* weights, size_t block, const int32_t* start, int32_t* out,
               size_t channels, size_t lanes) {
  Sums sums[P][V];
  for (int v = 0; v < V; v++) {
    std::memcpy(&sums[0][v], start + size_t(v) * kLanes, sizeof(Sums));
    for (int p = 1; p < P; p++) sums[p][v] = sums[0][v];
  }
  for (size_t i = 0; i < rows; i++) {
    const uint8_t* from = x + i * row;
    for (size_t k = 0; k < run; k++, weights += sizeof(Weights)) {
      Weights w[V];
      for (int v = 0; v < V; v++) {
        std::memcpy(&w[v], weights + size_t(v) * block, sizeof(Weights));
      }
      for (int p = 0; p < P; p++) {
        for (int v = 0; v < V; v++) {
          sums[p][v] = dot(sums[p][v], from + kBytes * k + size_t(p) * step, w[v]);
        }
      }
    }
  }
  for (int p = 0; p < P; p++) {
    for (int v = 0; v < V; v++) {
      const size_t count = v == V - 1 ? lanes - size_t(v) * kLanes : kLanes;
      int32_t* to = out + size_t(p) * channels + size_t(v) * kLanes;
      std::memcpy(to, &sums[p][v], count * sizeof(int32_t));
    }
  }
}

using ByteTile = void (*)(const uint8_t*, size_t, size_t, size_t, size_t, const int8_t*, size_t,
                          const int32_t*, int32_t*, size_t, size_t);
constexpr ByteTile kByteTiles[2][kPixels] = {
    {byte_tile<1, 1>, byte_tile<2, 1>, byte_tile<3, 1>, byte_tile<4, 1>, byte_tile<5, 1>,
     byte_tile<6, 1>, byte_tile<7, 1>, byte_tile<8, 1>},
    {byte_tile<1, 2>, byte_tile<2, 2>, byte_tile<3, 2>, byte_tile<4, 2>, byte_tile<5, 2>,
     byte_tile<6, 2>, byte_tile<7, 2>, byte_tile<8, 2>},
};

thread_local Padded<float> padded;
thread_local Padded<uint8_t> padded_bytes;

// Every tile of every image: `run(o, lanes, y, i, pixels, to)` makes `lanes` channels from o on of
// `pixels` pixels from (y, i) on. `fill(n)` pads image n before.
template <class T, class Fill, class Run>
void convolve(const int32_t* shape, T* out, Fill fill, Run run) {
  const size_t images = size_t(shape[0]), height = size_t(shape[4]), width = size_t(shape[5]),
               channels = size_t(shape[6]);
  for (size_t n = 0; n < images; n++) {
    fill(n);
    T* image = out + n * height * width * channels;
    for (size_t o = 0; o < channels; o += 2 * kLanes) {
      const size_t left = channels - o, lanes = left < 2 * kLanes ? left : 2 * kLanes;
      for (size_t y = 0; y < height; y++) {
        for (size_t i = 0; i < width; i += kPixels) {
          const size_t rest = width - i, pixels = rest < kPixels ? rest : kPixels;
          run(o, lanes, y, i, pixels, image + (y * width + i) * channels + o);
        }
      }
    }
  }
}

// TensorFlow Lite's MultiplyByQuantizedMultiplier (interpreter_int8.multiply); `left` is a power
// of two, `right` a shift and `mask` its bits. The verifier proves that x * left is an int32.
// Comparisons are sign bits, since GCC 12 does not vectorise sums of truth values.
inline int64_t scaled(int64_t x, int64_t multiplier, int64_t left, int64_t right, int64_t mask) {
  const int64_t wrapped = int32_t(uint32_t(uint64_t(x * left)));
  int64_t high = (wrapped * multiplier + (int64_t(1) << 30)) >> 31;
  high = high > INT32_MAX ? INT32_MAX : high;
  const int64_t threshold = (mask >> 1) - (high >> 63);
  return (high >> right) - ((threshold - (high & mask)) >> 63);  // one more above the threshold
}

inline float clamped(int64_t x, int32_t zero, int32_t lo, int32_t hi) {
  const int64_t q = x + zero;
  return float(q < lo ? lo : q > hi ? hi : q);
}

// t and the clamped quotient of B branches, in doubles that hold every integer exactly.
template <int B>
void requantize(size_t rows, size_t channels, const float* __restrict first,
                const float* __restrict second, const double* __restrict factors,
                const double* __restrict bias, double half, double step, double lo, double hi,
                double low, double high, float* __restrict out, uint8_t* __restrict passes) {
  for (size_t r = 0; r < rows; r++) {
    for (size_t c = 0; c < channels; c++) {
      const size_t at = r * channels + c;
      double t = bias[c] + std::floor(double(first[at]) * factors[c]);
      if (B > 1) t += std::floor(double(second[at]) * factors[channels + c]);
      double q = std::floor((t + half) * step);
      q = q < lo ? lo : q;
      out[at] = float(q > hi ? hi : q);
      passes[at] = uint8_t((t > low) & (t < high));
    }
  }
}

}  // namespace

extern "C" {

// Whether this processor multiplies bytes faster than floats.
int32_t tr_has_dot() {
#ifdef __AVX512VNNI__
  return 1;
#else
  return 0;
#endif
}

// `shape`: images, height, width, channels in, height, width, channels out, kernel rows and
// columns, strides down and along. `weights` packed: [channels out / 16][rows][columns][in][16].
void tr_conv(const int32_t* shape, const int32_t* pads, const int32_t* insert, const float* x,
             const float* weights, float* out) {
  const Shape in{size_t(shape[1]), size_t(shape[2]), size_t(shape[3])};
  const size_t channels = size_t(shape[6]), rows = size_t(shape[7]),
               run = size_t(shape[8]) * in.channels, block = rows * run * kLanes;
  const size_t down = size_t(shape[9]), step = size_t(shape[10]) * in.channels;
  convolve(
      shape, out,
      [&](size_t n) {
        padded.fill(x + n * in.height * in.width * in.channels, in, pads, insert, 0, 0.0f);
      },
      [&](size_t o, size_t lanes, size_t y, size_t i, size_t pixels, float* to) {
        kTiles[lanes > kLanes][pixels - 1](
            &padded.values[y * down * padded.row + i * step], padded.row, rows, run, step,
            weights + o / kLanes * block, block, to, channels, lanes);
      });
}

// The same of an input whose values plus `add` are bytes, `zero` where the pads are; `weights`
// packed: [channels out / 16][rows][columns x in / 4][16][4], sums begin at `start`, [channels
// out].
void tr_conv_bytes(const int32_t* shape, const int32_t* pads, const float* x, const int8_t* weights,
                   const int32_t* start, int32_t add, int32_t zero, int32_t floats, int32_t* out) {
  const Shape in{size_t(shape[1]), size_t(shape[2]), size_t(shape[3])};
  const size_t channels = size_t(shape[6]), rows = size_t(shape[7]),
               run = (size_t(shape[8]) * in.channels + kBytes - 1) / kBytes,
               block = rows * run * sizeof(Weights);
  const size_t down = size_t(shape[9]), step = size_t(shape[10]) * in.channels;
  const int32_t insert[2] = {1, 1};
  convolve(
      shape, out,
      [&](size_t n) {
        padded_bytes.fill(x + n * in.height * in.width * in.channels, in, pads, insert, add,
                          uint8_t(zero));
      },
      [&](size_t o, size_t lanes, size_t y, size_t i, size_t pixels, int32_t* to) {
        kByteTiles[lanes > kLanes][pixels - 1](
            &padded_bytes.values[y * down * padded_bytes.row + i * step], padded_bytes.row, rows,
            run, step, weights + o / kLanes * block, block, start + o, to, channels, lanes);
      });
  if (!floats) return;
  const size_t count = size_t(shape[0]) * size_t(shape[4]) * size_t(shape[5]) * channels;
  for (size_t k = 0; k < count; k++) {
    const float value = float(out[k]);
    std::memcpy(out + k, &value, sizeof value);
  }
}

// Every channel by itself; `shape` as for tr_conv, `weights` [rows][columns][channels].
void tr_depthwise(const int32_t* shape, const int32_t* pads, const int32_t* insert, const float* x,
                  const float* weights, float* out) {
  const size_t images = size_t(shape[0]);
  const Shape in{size_t(shape[1]), size_t(shape[2]), size_t(shape[3])};
  const Shape to{size_t(shape[4]), size_t(shape[5]), size_t(shape[6])};
  const size_t rows = size_t(shape[7]), columns = size_t(shape[8]), down = size_t(shape[9]),
               along = size_t(shape[10]), channels = to.channels;
  for (size_t n = 0; n < images; n++) {
    padded.fill(x + n * in.height * in.width * channels, in, pads, insert, 0, 0.0f);
    for (size_t y = 0; y < to.height; y++) {
      for (size_t i = 0; i < to.width; i++) {
        float* sums = out + ((n * to.height + y) * to.width + i) * channels;
        for (size_t c = 0; c < channels; c++) sums[c] = 0.0f;
        for (size_t r = 0; r < rows; r++) {
          const float* from = &padded.values[(y * down + r) * padded.row + i * along * channels];
          for (size_t k = 0; k < columns; k++) {
            const float* w = weights + (r * columns + k) * channels;
            for (size_t c = 0; c < channels; c++) {
              sums[c] += from[k * channels + c] * w[c];
            }
          }
        }
      }
    }
  }
}

// Node requantize of family fixed: `factors` are multipliers / 2^16; `passes` where t is inside.
void tr_requantize(int32_t rows, int32_t channels, int32_t branches, const float* first,
                   const float* second, const double* factors, const double* bias, int32_t shift,
                   int32_t lo, int32_t hi, float* out, uint8_t* passes) {
  const double power = double(int64_t(1) << shift);
  (branches == 1 ? requantize<1> : requantize<2>)(size_t(rows), size_t(channels), first, second,
                                                  factors, bias, double((int64_t(1) << shift) >> 1),
                                                  1.0 / power, lo, hi, lo * power, hi * power, out,
                                                  passes);
}

// flow x passes x factors of its channel.
void tr_requantize_back(int32_t rows, int32_t channels, const float* __restrict flow,
                        const uint8_t* __restrict passes, const float* __restrict factors,
                        float* __restrict out) {
  for (size_t r = 0; r < size_t(rows); r++) {
    for (size_t c = 0; c < size_t(channels); c++) {
      const size_t at = r * size_t(channels) + c;
      out[at] = passes[at] ? flow[at] * factors[c] : 0.0f;
    }
  }
}

// What ends every weighted node of family tflite: bias, scale of the channel, zero point, clamp.
void tr_finish_int8(int32_t rows, int32_t channels, const int32_t* __restrict sums,
                    const int64_t* __restrict bias, const int64_t* __restrict multipliers,
                    const int64_t* __restrict lefts, const int64_t* __restrict rights,
                    const int64_t* __restrict masks, int32_t zero, int32_t lo, int32_t hi,
                    float* __restrict out) {
  for (size_t r = 0; r < size_t(rows); r++) {
    for (size_t c = 0; c < size_t(channels); c++) {
      const size_t at = r * size_t(channels) + c;
      const int64_t sum = int64_t(sums[at]) + bias[c];
      out[at] = clamped(scaled(sum, multipliers[c], lefts[c], rights[c], masks[c]), zero, lo, hi);
    }
  }
}

// ADD and SUB of two tensors: the operands' scaled values by table, of the code plus 128.
void tr_add_int8(int32_t count, const float* __restrict first, const float* __restrict second,
                 const int32_t* __restrict table_first, const int32_t* __restrict table_second,
                 int32_t multiplier, int32_t right, int32_t zero, int32_t lo, int32_t hi,
                 float* __restrict out) {
  const int64_t mask = (int64_t(1) << right) - 1;
  for (size_t i = 0; i < size_t(count); i++) {
    const int64_t a = table_first[int32_t(first[i]) + 128];
    const int64_t b = table_second[int32_t(second[i]) + 128];
    out[i] = clamped(scaled(a + b, multiplier, 1, right, mask), zero, lo, hi);
  }
}

// flow x factors of its channel where the clamped `values` are strictly inside lo..hi.
void tr_clamp_back(int32_t rows, int32_t channels, const float* __restrict flow,
                   const float* __restrict values, float lo, float hi,
                   const float* __restrict factors, float* __restrict out) {
  for (size_t r = 0; r < size_t(rows); r++) {
    for (size_t c = 0; c < size_t(channels); c++) {
      const size_t at = r * size_t(channels) + c;
      out[at] = (values[at] > lo) & (values[at] < hi) ? flow[at] * factors[c] : 0.0f;
    }
  }
}

}  // extern "C"
