// family.hpp: where an STM32F446 has what stm32/ uses. RM0390, "Memory map".
#ifndef TR_STM32_FAMILY_HPP
#define TR_STM32_FAMILY_HPP

#include <stdint.h>

#include "usart_v1.hpp"

namespace tr::stm32::family {

constexpr uint32_t kGpio = 0x40020000u;  // GPIOA; the other ports follow
constexpr uint32_t kGpioEnable =
    0x40023830u;                             // RM0390, "RCC AHB1 peripheral clock enable register"
constexpr uint32_t kUniqueId = 0x1FFF7A10u;  // RM0390, "Unique device ID register (96 bits)"
constexpr bool kCaches = false;              // Cortex-M4
// stm32_over_drive/clock.cpp: 180 MHz from a VCO of 360 MHz (DS10693, "General operating
// conditions")
constexpr uint32_t kPllN = 180u;
constexpr uint32_t kPllQ = 8u;
constexpr uint32_t kFlashWaits = 5u;             // RM0390, 2.7 to 3.6 V
constexpr uint32_t kFlashAccelerator = 7u << 8;  // PRFTEN, ICEN, DCEN
constexpr bool kUartChoice = false;              // the UART's clock is its bus's

}  // namespace tr::stm32::family

#endif
