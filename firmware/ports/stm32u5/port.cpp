// port.cpp: tr_port.h on an STM32U575: USART1 to the ST-LINK, DWT, unique id. RM0456 is the
// reference manual; each register has a section of its own in the chapter named beside it.
#include "armv8m.hpp"
#include "clock.hpp"
#include "tr_image.h"
#include "tr_port.h"

namespace {

using tr::armv8m::reg;

// RM0456, "Reset and clock control (RCC)"
constexpr uint32_t kRccAhb2enr1 = 0x46020C00u + 0x8Cu;
constexpr uint32_t kRccApb2enr = 0x46020C00u + 0xA4u;
constexpr uint32_t kRccCcipr1 = 0x46020C00u + 0xE0u;
// RM0456, "General-purpose I/Os (GPIO)"
constexpr uint32_t kGpioA = 0x42020000u;
constexpr uint32_t kModer = kGpioA + 0x00u;
constexpr uint32_t kOspeedr = kGpioA + 0x08u;
constexpr uint32_t kPupdr = kGpioA + 0x0Cu;
constexpr uint32_t kAfrh = kGpioA + 0x24u;
// RM0456, "Universal synchronous/asynchronous receiver transmitter (USART/UART)"
constexpr uint32_t kUsart1 = 0x40013800u;
constexpr uint32_t kCr1 = kUsart1 + 0x00u;
constexpr uint32_t kCr2 = kUsart1 + 0x04u;
constexpr uint32_t kCr3 = kUsart1 + 0x08u;
constexpr uint32_t kBrr = kUsart1 + 0x0Cu;
constexpr uint32_t kIsr = kUsart1 + 0x1Cu;
constexpr uint32_t kIcr = kUsart1 + 0x20u;
constexpr uint32_t kRdr = kUsart1 + 0x24u;
constexpr uint32_t kTdr = kUsart1 + 0x28u;

constexpr uint32_t kUe = 1u << 0;
constexpr uint32_t kRe = 1u << 2;
constexpr uint32_t kTe = 1u << 3;
constexpr uint32_t kFifoEnable = 1u << 29;
constexpr uint32_t kErrors = 0xFu;            // ISR and ICR: PE, FE, NE, ORE
constexpr uint32_t kRxNotEmpty = 1u << 5;     // ISR.RXFNE
constexpr uint32_t kTransmitDone = 1u << 6;   // ISR.TC
constexpr uint32_t kTxNotFull = 1u << 7;      // ISR.TXFNF
constexpr uint32_t kAcknowledged = 3u << 21;  // ISR: TEACK, REACK

constexpr uint32_t kDefaultBaud = 115200u;
constexpr uint32_t kImageBase = 0x08000000u;   // RM0456, "Memory organization": flash bank 1
constexpr uint32_t kFlashBytes = 0x00200000u;  // 2 Mbytes

// RM0456, "Device electronic signature": the 96-bit unique device id. On silicon it holds wafer
// coordinates and a lot number; the virtual board puts this text there.
constexpr uint32_t kUniqueId = 0x0BFA0700u;
constexpr char kVirtualId[] = "VIRTUALBOARD";

void set_rate(uint32_t baud) {
  reg(kCr1) = 0;  // USART_BRR and FIFOEN may change only while UE is 0
  reg(kCr2) = 0;  // one stop bit
  reg(kCr3) = 0;  // no flow control, no DMA; an overrun sets ORE
  reg(kBrr) = (tr::stm32u5::kCoreHz + baud / 2u) / baud;  // oversampling by 16
  reg(kCr1) = kFifoEnable | kTe | kRe;
  reg(kCr1) = kFifoEnable | kTe | kRe | kUe;
  while ((reg(kIsr) & kAcknowledged) != kAcknowledged) {
  }
  reg(kIcr) = kErrors;
}

void serial_on() {
  // RCC_AHB2ENR1: GPIOAEN. RCC_APB2ENR: USART1EN. RCC_CCIPR1: USART1SEL = 0 (PCLK2). Reading back
  // waits until the clocks run.
  reg(kRccAhb2enr1) = reg(kRccAhb2enr1) | 1u;
  reg(kRccApb2enr) = reg(kRccApb2enr) | (1u << 14);
  reg(kRccCcipr1) = reg(kRccCcipr1) & ~3u;
  [[maybe_unused]] const uint32_t running = reg(kRccApb2enr);
  // DS13737, "Alternate function AF0 to AF7": AF7 is USART1_TX on PA9 and USART1_RX on PA10.
  reg(kAfrh) = (reg(kAfrh) & ~0xFF0u) | 0x770u;
  reg(kOspeedr) = (reg(kOspeedr) & ~(0xFu << 18)) | (0x5u << 18);  // medium speed
  reg(kPupdr) = (reg(kPupdr) & ~(0xFu << 18)) | (0x4u << 18);      // pull-up on PA10
  reg(kModer) = (reg(kModer) & ~(0xFu << 18)) | (0xAu << 18);      // alternate function
  set_rate(kDefaultBaud);
}

}  // namespace

extern "C" {

void tr_port_init(void) {
  tr::stm32u5::clocks_on();
  tr::armv8m::protect(kImageBase, kFlashBytes);
  tr::armv8m::cycle_counter_on();
  serial_on();
}

int tr_port_read(void) {
  const uint32_t status = reg(kIsr);
  if ((status & kErrors) != 0) reg(kIcr) = kErrors;  // the protocol's CRC finds what is lost
  if ((status & kRxNotEmpty) == 0) return -1;
  return static_cast<int>(reg(kRdr) & 0xFFu);
}

void tr_port_write(const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) {
    while ((reg(kIsr) & kTxNotFull) == 0) {
    }
    reg(kTdr) = data[i];
  }
}

uint32_t tr_port_baud_max(void) { return tr_board_baud_max; }

int tr_port_set_baud(uint32_t baud) {
  if (baud < 1200u || baud > tr_board_baud_max) return 0;
  while ((reg(kIsr) & kTransmitDone) == 0) {
  }
  set_rate(baud);
  return 1;
}

uint32_t tr_port_cycles(void) { return tr::armv8m::cycle_counter(); }
uint32_t tr_port_clock_hz(void) { return tr::stm32u5::kCoreHz; }

int tr_port_is_virtual(void) {
  for (uint32_t i = 0; i < 12u; i += 4u) {
    const uint32_t word = reg(kUniqueId + i);
    for (uint32_t j = 0; j < 4u; ++j) {
      if (static_cast<char>((word >> (8u * j)) & 0xFFu) != kVirtualId[i + j]) return 0;
    }
  }
  return 1;
}

const char* tr_port_board(void) { return tr_board_id; }

}  // extern "C"
