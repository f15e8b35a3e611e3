// port.cpp: tr_port.h on an STM32H743: USART3 to the ST-LINK, DWT, unique id. RM0433 is the
// reference manual; each register has a section of its own in the chapter named beside it.
#include "armv7m.hpp"
#include "clock.hpp"
#include "tr_image.h"
#include "tr_port.h"

namespace {

using tr::armv7m::reg;

// RM0433, "Reset and clock control (RCC)"
constexpr uint32_t kRccD2ccip2r = 0x58024400u + 0x54u;
constexpr uint32_t kRccAhb4enr = 0x58024400u + 0xE0u;
constexpr uint32_t kRccApb1lenr = 0x58024400u + 0xE8u;
// RM0433, "General-purpose I/Os (GPIO)"
constexpr uint32_t kGpioD = 0x58020C00u;
constexpr uint32_t kModer = kGpioD + 0x00u;
constexpr uint32_t kOspeedr = kGpioD + 0x08u;
constexpr uint32_t kPupdr = kGpioD + 0x0Cu;
constexpr uint32_t kAfrh = kGpioD + 0x24u;
// RM0433, "Universal synchronous/asynchronous receiver transmitter (USART/UART)"
constexpr uint32_t kUsart3 = 0x40004800u;
constexpr uint32_t kCr1 = kUsart3 + 0x00u;
constexpr uint32_t kCr2 = kUsart3 + 0x04u;
constexpr uint32_t kCr3 = kUsart3 + 0x08u;
constexpr uint32_t kBrr = kUsart3 + 0x0Cu;
constexpr uint32_t kIsr = kUsart3 + 0x1Cu;
constexpr uint32_t kIcr = kUsart3 + 0x20u;
constexpr uint32_t kRdr = kUsart3 + 0x24u;
constexpr uint32_t kTdr = kUsart3 + 0x28u;

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
constexpr uint32_t kImageBase = 0x08000000u;  // RM0433, "Memory organization": flash bank 1
constexpr uint32_t kFlashLog2Bytes = 21u;     // 2 Mbytes

// RM0433, "Device electronic signature": the 96-bit unique device id. On silicon it holds wafer
// coordinates and a lot number; the virtual board puts this text there.
constexpr uint32_t kUniqueId = 0x1FF1E800u;
constexpr char kVirtualId[] = "VIRTUALBOARD";

tr::stm32h7::Clocks clocks;

void set_rate(uint32_t baud) {
  reg(kCr1) = 0;  // USART_BRR and FIFOEN may change only while UE is 0
  reg(kCr2) = 0;  // one stop bit
  reg(kCr3) = 0;  // no flow control, no DMA; an overrun sets ORE
  reg(kBrr) = (clocks.apb1_hz + baud / 2u) / baud;  // oversampling by 16
  reg(kCr1) = kFifoEnable | kTe | kRe;
  reg(kCr1) = kFifoEnable | kTe | kRe | kUe;
  while ((reg(kIsr) & kAcknowledged) != kAcknowledged) {
  }
  reg(kIcr) = kErrors;
}

void serial_on() {
  // RCC_AHB4ENR: GPIODEN. RCC_APB1LENR: USART3EN. RCC_D2CCIP2R: USART234578SEL = 0 (APB1 clock).
  // Reading back waits until the clocks run.
  reg(kRccAhb4enr) = reg(kRccAhb4enr) | (1u << 3);
  reg(kRccApb1lenr) = reg(kRccApb1lenr) | (1u << 18);
  reg(kRccD2ccip2r) = reg(kRccD2ccip2r) & ~7u;
  [[maybe_unused]] const uint32_t running = reg(kRccApb1lenr);
  // DS12110, "Port D alternate functions": AF7 is USART3_TX on PD8 and USART3_RX on PD9.
  reg(kAfrh) = (reg(kAfrh) & ~0xFFu) | 0x77u;
  reg(kOspeedr) = (reg(kOspeedr) & ~(0xFu << 16)) | (0x5u << 16);  // medium speed
  reg(kPupdr) = (reg(kPupdr) & ~(0xFu << 16)) | (0x4u << 16);      // pull-up on PD9
  reg(kModer) = (reg(kModer) & ~(0xFu << 16)) | (0xAu << 16);      // alternate function
  set_rate(kDefaultBaud);
}

}  // namespace

extern "C" {

void tr_port_init(void) {
  clocks = tr::stm32h7::clocks_on();
  tr::armv7m::protect(kImageBase, kFlashLog2Bytes);
  tr::armv7m::caches_on();
  tr::armv7m::cycle_counter_on();
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

uint32_t tr_port_cycles(void) { return tr::armv7m::cycle_counter(); }
uint32_t tr_port_clock_hz(void) { return clocks.core_hz; }

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
