// mainline.hpp: core registers that Armv7-M and Armv8-M Mainline share. Names and bits: DDI0403 and
// DDI0553, their Architecture Reference Manuals; the caches: PM0253, "Cache maintenance
// operations".
#ifndef TR_MAINLINE_HPP
#define TR_MAINLINE_HPP

#include "cortexm.hpp"

namespace tr::mainline {

/// Faults on their own vectors; division by zero traps.
void faults_on();

/// Instruction and data caches of a Cortex-M7 or M55, invalidated and switched on.
void caches_on();

/// Start DWT's cycle counter.
void cycle_counter_on();

/// Core cycles since cycle_counter_on().
inline uint32_t cycle_counter() { return cortexm::reg(0xE0001004u); }

}  // namespace tr::mainline

#endif
