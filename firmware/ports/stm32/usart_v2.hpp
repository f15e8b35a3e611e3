// usart_v2.hpp: the U(S)ART and LPUART of STM32F7, L4 and H7: RM0410, RM0432, RM0433, RM0399 and
// RM0455, "Universal synchronous/asynchronous receiver transmitter (USART/UART)" and "Low-power
// universal asynchronous receiver transmitter (LPUART)".
#ifndef TR_STM32_USART_HPP
#define TR_STM32_USART_HPP

#include "family.hpp"
#include "stm32.hpp"

namespace tr::stm32::usart {

constexpr uint32_t kCr1 = 0x00u;
constexpr uint32_t kCr2 = 0x04u;
constexpr uint32_t kCr3 = 0x08u;
constexpr uint32_t kBrr = 0x0Cu;
constexpr uint32_t kIsr = 0x1Cu;
constexpr uint32_t kIcr = 0x20u;
constexpr uint32_t kRdr = 0x24u;
constexpr uint32_t kTdr = 0x28u;

constexpr uint32_t kErrors = 0xFu;  // ISR and ICR: PE, FE, NE, ORE

/// On at a divider of the kernel clock; ISR says when both directions are.
inline void start(uint32_t base, uint32_t divider) {
  constexpr uint32_t on = (family::kUartFifo ? 1u << 29 : 0u) | (1u << 3) | (1u << 2);  // TE, RE
  reg(base + kCr1) = 0;  // BRR and FIFOEN may change only while UE is 0
  reg(base + kCr2) = 0;  // one stop bit
  reg(base + kCr3) = 0;  // no flow control, no DMA; an overrun sets ORE
  reg(base + kBrr) = divider;
  reg(base + kCr1) = on;
  reg(base + kCr1) = on | 1u;       // UE
  wait_set(base + kIsr, 3u << 21);  // TEACK, REACK
  reg(base + kIcr) = kErrors;
}

/// The received byte, or -1; the protocol's CRC finds what an overrun lost.
inline int read(uint32_t base) {
  const uint32_t status = reg(base + kIsr);
  if ((status & kErrors) != 0) reg(base + kIcr) = kErrors;
  if ((status & (1u << 5)) == 0) return -1;  // RXNE, with a FIFO RXFNE
  return static_cast<int>(reg(base + kRdr) & 0xFFu);
}

/// Send one byte.
inline void write(uint32_t base, uint8_t byte) {
  wait_set(base + kIsr, 1u << 7);  // TXE, with a FIFO TXFNF
  reg(base + kTdr) = byte;
}

/// Wait until the last stop bit is out.
inline void drain(uint32_t base) { wait_set(base + kIsr, 1u << 6); }  // TC

}  // namespace tr::stm32::usart

#endif
