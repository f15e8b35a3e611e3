#include "kernels/average_pool_i8/average_pool_i8.hpp"

#include "runtime/int8_pool.hpp"
#include "runtime/int8_simd.hpp"

namespace tr {
namespace {

struct Average {
  static int32_t start() { return 0; }
  TR_INLINE static int32_t add(int32_t sum, int32_t q) { return sum + q; }
  TR_INLINE static int32_t finish(int32_t sum, int32_t n) {
    return (sum > 0 ? sum + n / 2 : sum - n / 2) / n;
  }
  static void four(const WindowI8& window, size_t c, int32_t* sum);
};

// With DSP instructions two halfword sums in a register, which hold 256 elements.
inline void Average::four(const WindowI8& window, size_t c, int32_t* sum) {
#if TR_DSP
  if (window.height * window.width <= 256) {
    uint32_t even = 0;
    uint32_t odd = 0;
    const uint8_t* line = reinterpret_cast<const uint8_t*>(window.first + c);
    for (uint32_t y = window.height; y != 0; --y, line += window.row) {
      const uint8_t* element = line;
      for (uint32_t x = window.width; x != 0; --x, element += window.channels) {
        const uint32_t word = load4(element);
        even = sxtab16(even, word);
        odd = sxtab16_ror8(odd, word);
      }
    }
    sum[0] = low_half(even);
    sum[1] = low_half(odd);
    sum[2] = high_half(even);
    sum[3] = high_half(odd);
    return;
  }
#endif
  fold_i8<Average, 4>(window, c, sum);
}

}  // namespace

void average_pool_i8(const Pool2DI8& layer, const Buffers& at) { pool_i8<Average>(layer, at); }

}  // namespace tr
