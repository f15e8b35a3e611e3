// armv7m.hpp: what every Armv7-M port uses of the core. DDI0403 is the Armv7-M Architecture
// Reference Manual.
#ifndef TR_ARMV7M_HPP
#define TR_ARMV7M_HPP

#include "mainline.hpp"

namespace tr::armv7m {

using cortexm::barrier;
using cortexm::reg;
using mainline::caches_on;
using mainline::cycle_counter;
using mainline::cycle_counter_on;

/// Faults on their own vectors, division by zero traps, the stack guard, the image read-only.
/// `image_base` is aligned to the region of 2^`image_log2_bytes`.
void protect(uint32_t image_base, uint32_t image_log2_bytes);

}  // namespace tr::armv7m

#endif
