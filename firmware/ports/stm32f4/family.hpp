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

}  // namespace tr::stm32::family

#endif
