// clock.hpp: clocks and resets of an RP2040.
#ifndef TR_RP2040_CLOCK_HPP
#define TR_RP2040_CLOCK_HPP

#include <stdint.h>

namespace tr::rp2040 {

constexpr uint32_t kClockHz = 133000000u;
constexpr uint32_t kCyclesPerMicrosecond = kClockHz / 1000000u;

/// 133 MHz from the crystal for core and peripherals, a tick of one microsecond, and the
/// peripherals that the port uses out of reset. Whatever ran before, ROM, debugger or this image,
/// is left first.
void clocks_on();

}  // namespace tr::rp2040

#endif
