// family.hpp: where an MPS3 has what mps/ uses (AN547, memory map).
#ifndef TR_MPS_FAMILY_HPP
#define TR_MPS_FAMILY_HPP

#include <stdint.h>

namespace tr::mps::family {

constexpr uint32_t kUart0 = 0x59303000u;
constexpr uint32_t kUartHz = 25000000u;  // QEMU, hw/arm/mps2-tz.c: apb_periph_frq

}  // namespace tr::mps::family

#endif
