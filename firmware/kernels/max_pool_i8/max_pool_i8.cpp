#include "kernels/max_pool_i8/max_pool_i8.hpp"

#include "runtime/int8_pool.hpp"

namespace tr {
namespace {

struct Maximum {
  static int32_t start() { return -128; }
  TR_INLINE static int32_t add(int32_t largest, int32_t q) { return q > largest ? q : largest; }
  TR_INLINE static int32_t finish(int32_t largest, int32_t) { return largest; }
};

}  // namespace

void max_pool_i8(const Pool2DI8& layer, const Buffers& at) { pool_i8<Maximum>(layer, at); }

}  // namespace tr
