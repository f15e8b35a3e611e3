// port.cpp: tr_port.h on Arm's MPS3 with the AN547 image as QEMU models it (hw/arm/mps2-tz.c). The
// core boots Secure and stays so; every address is the Secure alias (AN547, "Memory map").
#include "armv8m.hpp"
#include "tr_image.h"
#include "tr_port.h"

namespace {

using tr::armv8m::reg;

// DDI0479, "APB UART": UART0
constexpr uint32_t kUart0 = 0x59303000u;
constexpr uint32_t kUartData = kUart0 + 0x00u;
constexpr uint32_t kUartState = kUart0 + 0x04u;
constexpr uint32_t kUartCtrl = kUart0 + 0x08u;
constexpr uint32_t kUartBauddiv = kUart0 + 0x10u;
constexpr uint32_t kTxFull = 1u << 0;
constexpr uint32_t kRxFull = 1u << 1;
// AN547, "FPGA system control and I/O": counts up, 32 bits, once every PRESCALE + 1 cycles
constexpr uint32_t kFpgaio = 0x59302000u;
constexpr uint32_t kCounter = kFpgaio + 0x18u;
constexpr uint32_t kPrescale = kFpgaio + 0x1Cu;
// DDI0553, "CLIDR, Cache Level ID Register": QEMU's Cortex-M55 has no caches
constexpr uint32_t kClidr = 0xE000ED78u;

constexpr uint32_t kUartHz = 25000000u;     // QEMU, hw/arm/mps2-tz.c: apb_periph_frq
constexpr uint32_t kCounterHz = 20000000u;  // QEMU, hw/misc/mps2-fpgaio.c: prescale-clk
constexpr uint32_t kImageBase = 0x10000000u;
constexpr uint32_t kImageLog2Bytes = 19u;  // the instruction TCM, which stands for flash

void set_rate(uint32_t baud) {
  reg(kUartBauddiv) = kUartHz / baud;  // at least 16
  reg(kUartCtrl) = 3u;                 // TX and RX enable
}

}  // namespace

extern "C" {

void tr_port_init(void) {
  tr::armv8m::protect(kImageBase, kImageLog2Bytes);
  if (reg(kClidr) != 0) tr::armv8m::caches_on();
  reg(kPrescale) = 0;
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

uint32_t tr_port_cycles(void) { return reg(kCounter); }
uint32_t tr_port_clock_hz(void) { return kCounterHz; }

// This port is for QEMU; boards/mps3-*.yaml say so.
int tr_port_is_virtual(void) { return 1; }

const char* tr_port_board(void) { return tr_board_id; }

}  // extern "C"
