// armv7m.hpp: core registers that every Armv7-M port uses. Names and bits: DDI0403, the Armv7-M
// Architecture Reference Manual; the caches: PM0253, "Cache maintenance operations".
#ifndef TR_ARMV7M_HPP
#define TR_ARMV7M_HPP

#include <stdint.h>

namespace tr::armv7m {

/// A memory-mapped register.
inline volatile uint32_t& reg(uint32_t address) {
  return *reinterpret_cast<volatile uint32_t*>(static_cast<uintptr_t>(address));
}

/// All earlier accesses are complete, and the pipeline refetches.
inline void barrier() { __asm volatile("dsb\n\tisb" ::: "memory"); }

/// Faults on their own vectors, division by zero traps, the stack guard, the image read-only.
/// `image_base` is aligned to the region of 2^`image_log2_bytes`.
void protect(uint32_t image_base, uint32_t image_log2_bytes);

/// Instruction and data caches of a Cortex-M7, invalidated and switched on.
void caches_on();

/// Start DWT's cycle counter.
void cycle_counter_on();

/// Core cycles since cycle_counter_on().
inline uint32_t cycle_counter() { return reg(0xE0001004u); }

/// System reset; does not return.
[[noreturn]] void system_reset();

}  // namespace tr::armv7m

#endif
