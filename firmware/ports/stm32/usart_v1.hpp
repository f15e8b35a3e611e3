// usart_v1.hpp: the USART of STM32F4: RM0390, "Universal synchronous asynchronous receiver
// transmitter (USART)". Without a FIFO; reading the status and then the data clears errors.
#ifndef TR_STM32_USART_HPP
#define TR_STM32_USART_HPP

#include "stm32.hpp"

namespace tr::stm32::usart {

constexpr uint32_t kSr = 0x00u;
constexpr uint32_t kDr = 0x04u;
constexpr uint32_t kBrr = 0x08u;
constexpr uint32_t kCr1 = 0x0Cu;
constexpr uint32_t kCr2 = 0x10u;
constexpr uint32_t kCr3 = 0x14u;

/// On at a divider of the kernel clock; SR needs no wait.
inline void start(uint32_t base, uint32_t divider) {
  reg(base + kCr1) = 0;
  reg(base + kCr2) = 0;  // one stop bit
  reg(base + kCr3) = 0;  // no flow control, no DMA
  reg(base + kBrr) = divider;
  reg(base + kCr1) = (1u << 13) | (1u << 3) | (1u << 2);  // UE, TE, RE
}

/// The received byte, or -1. Errors go with the read of DR; the protocol's CRC finds what is lost.
inline int read(uint32_t base) {
  if ((reg(base + kSr) & (1u << 5)) == 0) return -1;  // RXNE
  return static_cast<int>(reg(base + kDr) & 0xFFu);
}

/// Send one byte.
inline void write(uint32_t base, uint8_t byte) {
  wait_set(base + kSr, 1u << 7);  // TXE
  reg(base + kDr) = byte;
}

/// Wait until the last stop bit is out.
inline void drain(uint32_t base) { wait_set(base + kSr, 1u << 6); }  // TC

}  // namespace tr::stm32::usart

#endif
