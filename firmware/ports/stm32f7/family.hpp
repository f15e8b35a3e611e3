// family.hpp: where an STM32F767 has what stm32/ uses. RM0410, "Memory map".
#ifndef TR_STM32_FAMILY_HPP
#define TR_STM32_FAMILY_HPP

#include <stdint.h>

namespace tr::stm32::family {

constexpr uint32_t kGpio = 0x40020000u;        // GPIOA; the other ports follow
constexpr uint32_t kGpioEnable = 0x40023830u;  // RM0410, "RCC AHB1 peripheral clock register"
constexpr uint32_t kUniqueId = 0x1FF0F420u;    // RM0410, "Unique device ID register (96 bits)"
constexpr bool kCaches = true;
constexpr bool kUartFifo = false;
// stm32_over_drive/clock.cpp: 216 MHz from a VCO of 432 MHz (DS11532, "General operating
// conditions")
constexpr uint32_t kPllN = 216u;
constexpr uint32_t kPllQ = 9u;
constexpr uint32_t kFlashWaits = 7u;  // RM0410, 2.7 to 3.6 V
// The image is fetched over AXIM, behind the core's caches; prefetch and ART accelerator serve the
// ITCM interface only (RM0410, "Adaptive real-time memory accelerator"), where nothing of it lies.
constexpr uint32_t kFlashAccelerator = 0;
constexpr bool kUartChoice = true;  // RCC_DCKCFGR2 says it

}  // namespace tr::stm32::family

#include "usart_v2.hpp"

#endif
