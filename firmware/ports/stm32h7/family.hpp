// family.hpp: where an STM32H743 or H747 has what stm32/ uses. RM0433 and RM0399, "Memory
// organization".
#ifndef TR_STM32_FAMILY_HPP
#define TR_STM32_FAMILY_HPP

#include <stdint.h>

namespace tr::stm32::family {

constexpr uint32_t kGpio = 0x58020000u;        // GPIOA; the other ports follow
constexpr uint32_t kGpioEnable = 0x580244E0u;  // RM0433, "RCC AHB4 clock register"
constexpr uint32_t kUniqueId = 0x1FF1E800u;    // RM0433, "Unique device ID register (96 bits)"
constexpr bool kCaches = true;
constexpr bool kUartFifo = true;

}  // namespace tr::stm32::family

#include "usart_v2.hpp"

#endif
