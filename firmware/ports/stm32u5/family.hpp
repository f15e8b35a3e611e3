// family.hpp: where an STM32U575 has what stm32/ uses, with TrustZone off. RM0456, "Memory
// organization".
#ifndef TR_STM32_FAMILY_HPP
#define TR_STM32_FAMILY_HPP

#include <stdint.h>

namespace tr::stm32::family {

constexpr uint32_t kGpio = 0x42020000u;  // GPIOA; the other ports follow
constexpr uint32_t kGpioEnable =
    0x46020C8Cu;  // RM0456, "RCC AHB2 peripheral clock enable register 1"
constexpr uint32_t kUniqueId = 0x0BFA0700u;  // RM0456, "Unique device ID register (96 bits)"
constexpr bool kCaches = false;              // Cortex-M33; ICACHE is none of the core's
constexpr bool kUartFifo = true;

}  // namespace tr::stm32::family

#include "usart_v2.hpp"

#endif
