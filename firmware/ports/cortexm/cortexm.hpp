// cortexm.hpp: what every Cortex-M core has. Section names are the same in DDI0419, DDI0403 and
// DDI0553, the Armv6-M, Armv7-M and Armv8-M Architecture Reference Manuals.
#ifndef TR_CORTEXM_HPP
#define TR_CORTEXM_HPP

#include <stdint.h>

extern "C" {
extern uint32_t tr_stack_guard[];  // made by the linker script, aligned to the guard's bytes
extern uint32_t tr_stack_low[];
extern uint32_t tr_stack_high[];
extern uint32_t tr_code_ram_start[];  // executable RAM, at the start of a region of its own
extern uint32_t tr_code_ram_end[];
extern const uint8_t tr_image_start[];
extern const uint8_t tr_image_end[];
}

namespace tr::cortexm {

/// A memory-mapped register.
inline volatile uint32_t& reg(uint32_t address) {
  return *reinterpret_cast<volatile uint32_t*>(static_cast<uintptr_t>(address));
}

/// The address of something that the linker script places.
inline uint32_t address_of(const void* place) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(place));
}

/// All earlier accesses are complete, and the pipeline refetches.
inline void barrier() { __asm volatile("dsb\n\tisb" ::: "memory"); }

/// System reset; does not return.
[[noreturn]] void system_reset();

}  // namespace tr::cortexm

#endif
