// clock.hpp: watchdog, flash wait states and clock tree of a SAM3X8E.
#ifndef TR_SAM3X_CLOCK_HPP
#define TR_SAM3X_CLOCK_HPP

#include <stdint.h>

namespace tr::sam3x {

constexpr uint32_t kCoreHz = 84000000u;

/// Watchdog off; 84 MHz from the 12 MHz crystal through PLLA.
void clocks_on();

}  // namespace tr::sam3x

#endif
