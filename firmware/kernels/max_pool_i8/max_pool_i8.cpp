#include "kernels/max_pool_i8/max_pool_i8.hpp"

#include "runtime/int8_pool.hpp"

namespace tr {
namespace {

struct Maximum {
  static int32_t start() { return -128; }
  TR_INLINE static int32_t add(int32_t largest, int32_t q) { return q > largest ? q : largest; }
  TR_INLINE static int32_t finish(int32_t largest, int32_t) { return largest; }
  static void four(const WindowI8& window, size_t c, int32_t* largest);
};

// With DSP instructions as unsigned bytes q + 128.
inline void Maximum::four(const WindowI8& window, size_t c, int32_t* largest) {
#if TR_DSP
  uint32_t most = 0;
  const uint8_t* line = reinterpret_cast<const uint8_t*>(window.first + c);
  for (uint32_t y = window.height; y != 0; --y, line += window.row) {
    const uint8_t* element = line;
    for (uint32_t x = window.width; x != 0; --x, element += window.channels) {
      most = max_bytes(most, load4(element) ^ 0x80808080u);
    }
  }
  TR_UNROLL
  for (uint32_t i = 0; i < 4; ++i) {
    largest[i] = static_cast<int32_t>((most >> (8 * i)) & 0xffu) - 128;
  }
#else
  fold_i8<Maximum, 4>(window, c, largest);
#endif
}

}  // namespace

void max_pool_i8(const Pool2DI8& layer, const Buffers& at) { pool_i8<Maximum>(layer, at); }

}  // namespace tr
