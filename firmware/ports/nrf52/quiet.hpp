// quiet.hpp: what a bootloader may leave running on an nRF52840.
#ifndef TR_NRF52_QUIET_HPP
#define TR_NRF52_QUIET_HPP

namespace tr::nrf52 {

/// Interrupts off and not pending, timers and real-time counters stopped, USB off
/// the bus, the serial peripherals off, no event wired to a task, trace pins given back. What is
/// left alone: the low-frequency clock, pins, and a running watchdog, which nothing but a reset can
/// stop.
void quiet();

/// Reload the watchdog, when somebody has started it: once it runs, it resets the chip unless every
/// reload register that it was given is written in time.
void feed_watchdog();

}  // namespace tr::nrf52

#endif
