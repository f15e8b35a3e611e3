// port.cpp: tr_port.h on an RP2040: UART0 on GP0 and GP1, SysTick and the timer for cycles. Section
// names are those of the RP2040 datasheet; DDI0183 is the manual of the UART, Arm's PL011.
#include "armv6m.hpp"
#include "clock.hpp"
#include "tr_image.h"
#include "tr_port.h"

namespace {

using tr::armv6m::reg;

// "SYSINFO", PLATFORM: bit 1 says ASIC, bit 0 FPGA. No chip says FPGA; the virtual board does.
constexpr uint32_t kPlatform = 0x40000004u;
constexpr uint32_t kNoChip = 1u;
// "GPIO", "IO - User Bank" and "Pad Control - User Bank"
constexpr uint32_t kGpio0Ctrl = 0x40014004u;
constexpr uint32_t kGpio1Ctrl = 0x4001400Cu;
constexpr uint32_t kPad0 = 0x4001C004u;
constexpr uint32_t kPad1 = 0x4001C008u;
constexpr uint32_t kFunctionUart = 2u;  // "Function Select": F2 is UART0 TX on GP0, RX on GP1
// "UART", "List of Registers"; DDI0183, "Summary of registers"
constexpr uint32_t kUart = 0x40034000u;
constexpr uint32_t kData = kUart + 0x00u;
constexpr uint32_t kFlags = kUart + 0x18u;
constexpr uint32_t kIntegerDivisor = kUart + 0x24u;
constexpr uint32_t kFractionDivisor = kUart + 0x28u;
constexpr uint32_t kLineControl = kUart + 0x2Cu;
constexpr uint32_t kControl = kUart + 0x30u;
constexpr uint32_t kBusy = 1u << 3;
constexpr uint32_t kRxEmpty = 1u << 4;
constexpr uint32_t kTxFull = 1u << 5;
// "Timer", "List of Registers": TIMERAWL
constexpr uint32_t kMicroseconds = 0x40054028u;

constexpr uint32_t kImageBase = 0x10000000u;  // "Address Map": XIP
constexpr uint32_t kFlashLog2Bytes = 21u;     // W25Q16JV: 2 Mbytes
constexpr uint32_t kDefaultBaud = 115200u;

uint32_t started_us;

void set_rate(uint32_t baud) {
  // DDI0183, "Fractional baud rate register": 64 * clock / (16 * baud), rounded
  const uint32_t divisor = (4u * tr::rp2040::kClockHz + baud / 2u) / baud;
  reg(kControl) = 0;  // UARTLCR_H may change only while UARTEN is 0
  reg(kIntegerDivisor) = divisor >> 6;
  reg(kFractionDivisor) = divisor & 63u;
  // Written last, for it takes the divisors over (DDI0183, UARTLCR_H): 8 bits, FIFOs of 32 bytes.
  reg(kLineControl) = (3u << 5) | (1u << 4);
  reg(kControl) = (1u << 9) | (1u << 8) | 1u;  // RXE, TXE, UARTEN
}

void serial_on() {
  reg(kPad0) = (1u << 6) | (1u << 4) | (1u << 1);              // IE, 4 mA, Schmitt trigger
  reg(kPad1) = (1u << 6) | (1u << 4) | (1u << 3) | (1u << 1);  // and a pull-up on RX
  set_rate(kDefaultBaud);
  reg(kGpio0Ctrl) = kFunctionUart;
  reg(kGpio1Ctrl) = kFunctionUart;
}

}  // namespace

extern "C" {

void tr_port_init(void) {
  tr::rp2040::clocks_on();
  tr::armv6m::protect(kImageBase, kFlashLog2Bytes);
  tr::armv6m::systick_on();
  started_us = reg(kMicroseconds);
  serial_on();
}

int tr_port_read(void) {
  if ((reg(kFlags) & kRxEmpty) != 0) return -1;
  return static_cast<int>(reg(kData) & 0xFFu);  // errors beside it: the protocol's CRC finds them
}

void tr_port_write(const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) {
    while ((reg(kFlags) & kTxFull) != 0) {
    }
    reg(kData) = data[i];
  }
}

uint32_t tr_port_baud_max(void) { return tr_board_baud_max; }

int tr_port_set_baud(uint32_t baud) {
  if (baud < 1200u || baud > tr_board_baud_max) return 0;
  while ((reg(kFlags) & kBusy) != 0) {
  }
  set_rate(baud);
  return 1;
}

// SysTick has the resolution, one cycle, but only 24 bits: it comes round every 126 ms. The timer
// has the range and counts microseconds of the same crystal, so the two never drift apart: its
// count tells which round SysTick is in.
uint32_t tr_port_cycles(void) {
  const uint32_t elapsed_us = reg(kMicroseconds) - started_us;
  return tr::armv6m::extend(elapsed_us * tr::rp2040::kCyclesPerMicrosecond,
                            tr::armv6m::systick_cycles());
}

uint32_t tr_port_clock_hz(void) { return tr::rp2040::kClockHz; }
int tr_port_is_virtual(void) { return (reg(kPlatform) & 3u) == kNoChip; }
const char* tr_port_board(void) { return tr_board_id; }

}  // extern "C"
