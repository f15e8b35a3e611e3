// clock.hpp: power, clock tree and flash wait states of an STM32H743.
#ifndef TR_STM32H7_CLOCK_HPP
#define TR_STM32H7_CLOCK_HPP

#include <stdint.h>

namespace tr::stm32h7 {

struct Clocks {
  uint32_t core_hz;
  uint32_t apb1_hz;  // kernel clock of USART3
};

/// 480 MHz on silicon revision V, else 400 MHz, from PLL1; before it, what early silicon needs.
Clocks clocks_on();

}  // namespace tr::stm32h7

#endif
