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

}  // namespace tr::stm32::family

#include "usart_v2.hpp"

#endif
