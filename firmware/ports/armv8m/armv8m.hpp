// armv8m.hpp: what every Armv8-M Mainline port uses of the core. DDI0553 is the Armv8-M
// Architecture Reference Manual.
#ifndef TR_ARMV8M_HPP
#define TR_ARMV8M_HPP

#include "mainline.hpp"

namespace tr::armv8m {

using cortexm::barrier;
using cortexm::reg;
using mainline::caches_on;
using mainline::cycle_counter;
using mainline::cycle_counter_on;

/// Faults on their own vectors, division by zero traps, the image read-only, executable RAM either
/// writable or executable. Start-up has set the stack limit. `image_base` is aligned to the region
/// of 2^`image_log2_bytes`.
void protect(uint32_t image_base, uint32_t image_log2_bytes);

}  // namespace tr::armv8m

#endif
