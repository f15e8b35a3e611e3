#include "kernels/average_pool_i8/average_pool_i8.hpp"

#include "runtime/int8_pool.hpp"

namespace tr {
namespace {

struct Average {
  static int32_t start() { return 0; }
  TR_INLINE static int32_t add(int32_t sum, int32_t q) { return sum + q; }
  TR_INLINE static int32_t finish(int32_t sum, int32_t n) {
    return (sum > 0 ? sum + n / 2 : sum - n / 2) / n;
  }
};

}  // namespace

void average_pool_i8(const Pool2DI8& layer, const Buffers& at) { pool_i8<Average>(layer, at); }

}  // namespace tr
