// stm32.hpp: what the clock code and the port of every STM32 family share. Register names and bits
// are the same in the reference manuals of all families here (RM0390 F446, RM0410 F7, RM0432 L4+,
// RM0433 H743, RM0399 H747, RM0455 H7A3) unless a comment says otherwise.
#ifndef TR_STM32_HPP
#define TR_STM32_HPP

#include <stdint.h>

#include "cortexm.hpp"

// The board file's `settings` (port.yaml says what each is).
extern "C" {
extern const uint32_t tr_setting_uart_base;
extern const uint32_t tr_setting_uart_enable;
extern const uint32_t tr_setting_uart_enable_mask;
extern const uint32_t tr_setting_uart_multiplier;
extern const char tr_setting_uart_tx[];
extern const char tr_setting_uart_rx[];
extern const uint32_t tr_setting_uart_alternate;
}

namespace tr::stm32 {

using cortexm::reg;

struct Clocks {
  uint32_t core_hz;
  uint32_t uart_hz;  // kernel clock of the UART
};

/// The highest clock of the family, from its clock.cpp; what the UART's pins need besides.
Clocks clocks_on();

/// Wait until all `bits` of a register are set.
inline void wait_set(uint32_t address, uint32_t bits) {
  while ((reg(address) & bits) != bits) {
  }
}

/// Wait until the bits `mask` of a register are `value`.
inline void wait_for(uint32_t address, uint32_t mask, uint32_t value) {
  while ((reg(address) & mask) != value) {
  }
}

/// Replace the bits `mask` of a register.
inline void set_bits(uint32_t address, uint32_t mask, uint32_t value) {
  reg(address) = (reg(address) & ~mask) | value;
}

/// RCC_CR: HSE with a clock on OSC_IN (HSEBYP); false, and off again, when there is none.
bool external_clock_on(uint32_t rcc_cr);

/// A pin such as "PD8": its port's clock on, alternate function `number`, pull-up, medium speed.
void pin_alternate(const char* pin, uint32_t number);

/// A pin such as "PH1": its port's clock on, output, high.
void pin_high(const char* pin);

}  // namespace tr::stm32

#endif
