// port.cpp: tr_port.h on a SAM3X8E: UART to the ATmega16U2 of the Arduino Due's programming port,
// DWT. DS11057 is the data sheet (Atmel-11057, SAM3X / SAM3A Series).
#include "armv7m.hpp"
#include "clock.hpp"
#include "tr_image.h"
#include "tr_port.h"

namespace {

using tr::armv7m::reg;

// DS11057, "Power Management Controller (PMC)"
constexpr uint32_t kPcer0 = 0x400E0610u;
// DS11057, "Parallel Input/Output Controller (PIO)": port A
constexpr uint32_t kPioA = 0x400E0E00u;
constexpr uint32_t kPdr = kPioA + 0x04u;
constexpr uint32_t kPuer = kPioA + 0x64u;
constexpr uint32_t kAbsr = kPioA + 0x70u;
// DS11057, "Universal Asynchronous Receiver Transceiver (UART)"
constexpr uint32_t kUart = 0x400E0800u;
constexpr uint32_t kCr = kUart + 0x00u;
constexpr uint32_t kMr = kUart + 0x04u;
constexpr uint32_t kSr = kUart + 0x14u;
constexpr uint32_t kRhr = kUart + 0x18u;
constexpr uint32_t kThr = kUart + 0x1Cu;
constexpr uint32_t kBrgr = kUart + 0x20u;
// DS11057, "Reset Controller (RSTC)"
constexpr uint32_t kRstcCr = 0x400E1A00u;
// DS11057, "Chip Identifier (CHIPID)"
constexpr uint32_t kChipidExid = 0x400E0944u;

constexpr uint32_t kPins = (1u << 8) | (1u << 9);        // PA8: URXD, PA9: UTXD
constexpr uint32_t kUartClock = 1u << 8;                 // peripheral identifier 8
constexpr uint32_t kRxReady = 1u << 0;                   // UART_SR: RXRDY
constexpr uint32_t kTxReady = 1u << 1;                   // UART_SR: TXRDY
constexpr uint32_t kErrors = 7u << 5;                    // UART_SR: OVRE, FRAME, PARE
constexpr uint32_t kTxEmpty = 1u << 9;                   // UART_SR: TXEMPTY
constexpr uint32_t kResetBoth = (1u << 2) | (1u << 3);   // UART_CR: RSTRX, RSTTX
constexpr uint32_t kEnableBoth = (1u << 4) | (1u << 6);  // UART_CR: RXEN, TXEN
constexpr uint32_t kResetStatus = 1u << 8;               // UART_CR: RSTSTA
constexpr uint32_t kNoParity = 4u << 9;                  // UART_MR: PAR

constexpr uint32_t kDefaultBaud = 115200u;
constexpr uint32_t kImageBase = 0x00080000u;  // DS11057, "Memories": flash bank 0, then bank 1
constexpr uint32_t kFlashLog2Bytes = 19u;     // 512 Kbytes

// CHIPID_EXID reads as 0 when CHIPID_CIDR.EXT is 0, as on a SAM3X8E; the virtual board puts this
// there ("VIRT").
constexpr uint32_t kVirtualId = 0x54524956u;

void set_rate(uint32_t baud) {
  reg(kCr) = kResetBoth;
  reg(kMr) = kNoParity;
  reg(kBrgr) = (tr::sam3x::kCoreHz + baud * 8u) / (baud * 16u);  // UART_BRGR: CD
  reg(kCr) = kEnableBoth | kResetStatus;
}

void serial_on() {
  reg(kPcer0) = kUartClock;
  // PIO_ABSR: peripheral A; PIO_PUER: a pull-up on the receiver; PIO_PDR: the pins are its own.
  reg(kAbsr) = reg(kAbsr) & ~kPins;
  reg(kPuer) = 1u << 8;
  reg(kPdr) = kPins;
  set_rate(kDefaultBaud);
}

}  // namespace

extern "C" {

void tr_port_init(void) {
  tr::sam3x::clocks_on();
  tr::armv7m::protect(kImageBase, kFlashLog2Bytes);
  tr::armv7m::cycle_counter_on();
  serial_on();
}

int tr_port_read(void) {
  const uint32_t status = reg(kSr);
  if ((status & kErrors) != 0) reg(kCr) = kResetStatus;  // the protocol's CRC finds what is lost
  if ((status & kRxReady) == 0) return -1;
  return static_cast<int>(reg(kRhr) & 0xFFu);
}

void tr_port_write(const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) {
    while ((reg(kSr) & kTxReady) == 0) {
    }
    reg(kThr) = data[i];
  }
}

uint32_t tr_port_baud_max(void) { return tr_board_baud_max; }

int tr_port_set_baud(uint32_t baud) {
  if (baud < 1200u || baud > tr_board_baud_max) return 0;
  while ((reg(kSr) & kTxEmpty) == 0) {
  }
  set_rate(baud);
  return 1;
}

uint32_t tr_port_cycles(void) { return tr::armv7m::cycle_counter(); }
uint32_t tr_port_clock_hz(void) { return tr::sam3x::kCoreHz; }

int tr_port_is_virtual(void) { return reg(kChipidExid) == kVirtualId ? 1 : 0; }

const char* tr_port_board(void) { return tr_board_id; }

// AIRCR.SYSRESETREQ resets the processor alone (DS11057, "Application Interrupt and Reset Control
// Register"). RSTC_CR: KEY, PERRST, PROCRST.
void tr_port_reset(void) {
  tr::armv7m::barrier();
  reg(kRstcCr) = (0xA5u << 24) | (1u << 2) | 1u;
  tr::armv7m::barrier();
  for (;;) {
  }
}

}  // extern "C"
