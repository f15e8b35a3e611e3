// family.hpp: where an MPS2 has what mps/ uses (hw/arm/mps2.c, memory map).
#ifndef TR_MPS_FAMILY_HPP
#define TR_MPS_FAMILY_HPP

#include <stdint.h>

namespace tr::mps::family {

constexpr uint32_t kUart0 = 0x40004000u;
constexpr uint32_t kUartHz = 25000000u;  // the core's clock too

}  // namespace tr::mps::family

#endif
