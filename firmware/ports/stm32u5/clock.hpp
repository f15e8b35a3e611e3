// clock.hpp: power, clock tree, flash wait states and instruction cache of an STM32U575.
#ifndef TR_STM32U5_CLOCK_HPP
#define TR_STM32U5_CLOCK_HPP

#include <stdint.h>

namespace tr::stm32u5 {

constexpr uint32_t kCoreHz = 160000000u;  // and of all buses

/// 160 MHz from HSI16 through PLL1, the supply in range 1 with its booster, the cache on.
void clocks_on();

}  // namespace tr::stm32u5

#endif
