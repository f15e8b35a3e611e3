// armv6m.hpp: what every Armv6-M port uses of the core. DDI0419 is the Armv6-M Architecture
// Reference Manual.
#ifndef TR_ARMV6M_HPP
#define TR_ARMV6M_HPP

#include "cortexm.hpp"

namespace tr::armv6m {

using cortexm::barrier;
using cortexm::reg;

/// The stack guard and the image read-only, where the core has an MPU (an option of a Cortex-M0+).
/// `image_base` is aligned to the region of 2^`image_log2_bytes`. Gives whether it has one.
bool protect(uint32_t image_base, uint32_t image_log2_bytes);

/// There is no cycle counter: let SysTick count core cycles down through all its 24 bits.
void systick_on();

/// Core cycles since systick_on(), modulo 2^24. With a slower clock beside it, read at once,
/// 32 bits come out of extend().
inline uint32_t systick_cycles() { return 0xFFFFFFu - reg(0xE000E018u); }

/// The 32-bit count of cycles nearest to `about`, whose lowest 24 bits are `fine`; exact while
/// `about` is off by less than 2^23.
inline uint32_t extend(uint32_t about, uint32_t fine) {
  // Without a branch, or reading the counter would not always take as long.
  const auto apart = static_cast<int32_t>((fine - about) << 8) >> 8;
  return about + static_cast<uint32_t>(apart);
}

}  // namespace tr::armv6m

#endif
