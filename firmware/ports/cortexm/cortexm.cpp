// cortexm.cpp: the part of tr_port.h that is the same on every Cortex-M.
#include "cortexm.hpp"

#include "tr_port.h"

namespace tr::cortexm {

void system_reset() {
  constexpr uint32_t kAircr = 0xE000ED0Cu;  // Application Interrupt and Reset Control, AIRCR
  barrier();
  reg(kAircr) = (0x05FAu << 16) | (1u << 2);  // AIRCR: VECTKEY, SYSRESETREQ
  barrier();
  for (;;) {
  }
}

}  // namespace tr::cortexm

extern "C" {

const uint8_t* tr_port_image(void) { return tr_image_start; }

uint32_t tr_port_image_bytes(void) {
  return tr::cortexm::address_of(tr_image_end) - tr::cortexm::address_of(tr_image_start);
}

const uint32_t* tr_port_stack_low(void) { return tr_stack_low; }
const uint32_t* tr_port_stack_high(void) { return tr_stack_high; }

// Where a family has a better way.
__attribute__((weak)) void tr_port_reset(void) { tr::cortexm::system_reset(); }

}  // extern "C"
