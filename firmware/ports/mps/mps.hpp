// mps.hpp: the UART of Arm's MPS boards: DDI0479, the Cortex-M System Design Kit manual, "APB
// UART".
#ifndef TR_MPS_HPP
#define TR_MPS_HPP

#include <stdint.h>

#include "cortexm.hpp"
#include "family.hpp"

namespace tr::mps {

using cortexm::reg;

constexpr uint32_t kUartData = family::kUart0 + 0x00u;
constexpr uint32_t kUartState = family::kUart0 + 0x04u;
constexpr uint32_t kUartCtrl = family::kUart0 + 0x08u;
constexpr uint32_t kUartBauddiv = family::kUart0 + 0x10u;
constexpr uint32_t kTxFull = 1u << 0;
constexpr uint32_t kRxFull = 1u << 1;

inline void set_rate(uint32_t baud) {
  reg(kUartBauddiv) = family::kUartHz / baud;  // at least 16
  reg(kUartCtrl) = 3u;                         // TX and RX enable
}

}  // namespace tr::mps

#endif
