// port.cpp: tr_port.h on Arm's MPS2 as QEMU models it (hw/arm/mps2.c), for the AN385, AN386 and
// AN500 images. UART and timer are those of DDI0479, the Cortex-M System Design Kit manual.
#include "armv7m.hpp"
#include "tr_image.h"
#include "tr_port.h"

namespace {

using tr::armv7m::reg;

// DDI0479, "APB UART": UART0
constexpr uint32_t kUart0 = 0x40004000u;
constexpr uint32_t kUartData = kUart0 + 0x00u;
constexpr uint32_t kUartState = kUart0 + 0x04u;
constexpr uint32_t kUartCtrl = kUart0 + 0x08u;
constexpr uint32_t kUartBauddiv = kUart0 + 0x10u;
constexpr uint32_t kTxFull = 1u << 0;
constexpr uint32_t kRxFull = 1u << 1;
// DDI0479, "APB timer": TIMER0, counts down; 32 bits, where SysTick has 24
constexpr uint32_t kTimer0 = 0x40000000u;
constexpr uint32_t kTimerCtrl = kTimer0 + 0x00u;
constexpr uint32_t kTimerValue = kTimer0 + 0x04u;
constexpr uint32_t kTimerReload = kTimer0 + 0x08u;

constexpr uint32_t kClockHz = 25000000u;
constexpr uint32_t kImageBase = 0u;
constexpr uint32_t kImageLog2Bytes = 22u;  // the 4 Mbytes that stand for flash

void set_rate(uint32_t baud) {
  reg(kUartBauddiv) = kClockHz / baud;  // at least 16
  reg(kUartCtrl) = 3u;                  // TX and RX enable
}

}  // namespace

extern "C" {

void tr_port_init(void) {
  tr::armv7m::protect(kImageBase, kImageLog2Bytes);
  reg(kTimerReload) = 0xFFFFFFFFu;
  reg(kTimerValue) = 0xFFFFFFFFu;
  reg(kTimerCtrl) = 1u;  // enable, no interrupt
  set_rate(115200u);
}

int tr_port_read(void) {
  if ((reg(kUartState) & kRxFull) == 0) return -1;
  return static_cast<int>(reg(kUartData) & 0xFFu);
}

void tr_port_write(const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) {
    while ((reg(kUartState) & kTxFull) != 0) {
    }
    reg(kUartData) = data[i];
  }
}

uint32_t tr_port_baud_max(void) { return tr_board_baud_max; }

int tr_port_set_baud(uint32_t baud) {
  if (baud < 1200u || baud > tr_board_baud_max) return 0;
  while ((reg(kUartState) & kTxFull) != 0) {
  }
  set_rate(baud);
  return 1;
}

uint32_t tr_port_cycles(void) { return 0xFFFFFFFFu - reg(kTimerValue); }
uint32_t tr_port_clock_hz(void) { return kClockHz; }

// This port is for QEMU; boards/mps2-*.yaml say so.
int tr_port_is_virtual(void) { return 1; }

const char* tr_port_board(void) { return tr_board_id; }

}  // extern "C"
