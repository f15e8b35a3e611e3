// family.hpp: where an STM32L4R5 has what stm32/ uses. RM0432, "Memory map and register boundary
// addresses".
#ifndef TR_STM32_FAMILY_HPP
#define TR_STM32_FAMILY_HPP

#include <stdint.h>

namespace tr::stm32::family {

constexpr uint32_t kGpio = 0x48000000u;        // GPIOA; the other ports follow
constexpr uint32_t kGpioEnable = 0x4002104Cu;  // RM0432, "AHB2 peripheral clock enable register"
constexpr uint32_t kUniqueId = 0x1FFF7590u;    // RM0432, "Unique device ID register (96 bits)"
constexpr bool kCaches = false;                // Cortex-M4
constexpr bool kUartFifo = true;

}  // namespace tr::stm32::family

#include "usart_v2.hpp"

#endif
