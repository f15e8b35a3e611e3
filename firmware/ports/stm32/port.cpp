// port.cpp: tr_port.h on every STM32 family here: a U(S)ART, DWT, the unique id. The family's
// family.hpp and clock.cpp have the addresses and the clock tree, the board's settings the UART.
#include "core.hpp"
#include "family.hpp"
#include "stm32.hpp"
#include "tr_image.h"
#include "tr_port.h"

namespace {

using namespace tr::stm32;

constexpr uint32_t kDefaultBaud = 115200u;

// Reference manuals, "Device electronic signature": the 96-bit unique device id. On silicon it
// holds wafer coordinates and a lot number; the virtual board puts this text there.
constexpr char kVirtualId[] = "VIRTUALBOARD";

Clocks clocks;

// BRR: the divider of the kernel clock (oversampling by 16), of an LPUART times 256; rounded.
uint32_t divider(uint32_t baud) {
  const uint32_t hz = clocks.uart_hz, times = tr_setting_uart_multiplier;
  const uint32_t whole = hz / baud, rest = hz % baud;  // in 32 bits: hz * 256 has more
  return times * whole + (times * rest + baud / 2u) / baud;
}

// BRR has 16 bits, of an LPUART 20.
uint32_t longest_divider() { return tr_setting_uart_multiplier == 1u ? 0xFFFFu : 0xFFFFFu; }

void serial_on() {
  reg(tr_setting_uart_enable) = reg(tr_setting_uart_enable) | tr_setting_uart_enable_mask;
  [[maybe_unused]] const uint32_t running = reg(tr_setting_uart_enable);  // waits until it runs
  pin_alternate(tr_setting_uart_tx, tr_setting_uart_alternate);
  pin_alternate(tr_setting_uart_rx, tr_setting_uart_alternate);
  usart::start(tr_setting_uart_base, divider(kDefaultBaud));
}

// The smallest region of 2^n bytes that holds the flash.
uint32_t flash_log2_bytes() {
  uint32_t log2_bytes = 10;
  while ((1u << log2_bytes) < tr_board_flash_bytes) ++log2_bytes;
  return log2_bytes;
}

}  // namespace

extern "C" {

void tr_port_init(void) {
  clocks = clocks_on();
  tr::core::protect(tr_board_flash_origin, flash_log2_bytes());
  if (family::kCaches) tr::core::caches_on();
  tr::core::cycle_counter_on();
  serial_on();
}

int tr_port_read(void) { return usart::read(tr_setting_uart_base); }

void tr_port_write(const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) usart::write(tr_setting_uart_base, data[i]);
}

uint32_t tr_port_baud_max(void) { return tr_board_baud_max; }

int tr_port_set_baud(uint32_t baud) {
  if (baud < 1200u || baud > tr_board_baud_max || divider(baud) > longest_divider()) return 0;
  usart::drain(tr_setting_uart_base);
  usart::start(tr_setting_uart_base, divider(baud));
  return 1;
}

uint32_t tr_port_cycles(void) { return tr::core::cycle_counter(); }
uint32_t tr_port_clock_hz(void) { return clocks.core_hz; }

int tr_port_is_virtual(void) {
  for (uint32_t i = 0; i < 12u; i += 4u) {
    const uint32_t word = reg(family::kUniqueId + i);
    for (uint32_t j = 0; j < 4u; ++j) {
      if (static_cast<char>((word >> (8u * j)) & 0xFFu) != kVirtualId[i + j]) return 0;
    }
  }
  return 1;
}

const char* tr_port_board(void) { return tr_board_id; }

}  // extern "C"
