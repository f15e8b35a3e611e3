// port.cpp: tr_port.h on Arm's MPS2 as QEMU models it (hw/arm/mps2.c), for the AN385, AN386 and
// AN500 images. The timer is that of DDI0479, the Cortex-M System Design Kit manual.
#include "armv7m.hpp"
#include "mps.hpp"
#include "tr_port.h"

namespace {

using tr::armv7m::reg;

// DDI0479, "APB timer": TIMER0, counts down; 32 bits, where SysTick has 24
constexpr uint32_t kTimer0 = 0x40000000u;
constexpr uint32_t kTimerCtrl = kTimer0 + 0x00u;
constexpr uint32_t kTimerValue = kTimer0 + 0x04u;
constexpr uint32_t kTimerReload = kTimer0 + 0x08u;

constexpr uint32_t kImageBase = 0u;
constexpr uint32_t kImageLog2Bytes = 22u;  // the 4 Mbytes that stand for flash

}  // namespace

extern "C" {

void tr_port_init(void) {
  tr::armv7m::protect(kImageBase, kImageLog2Bytes);
  reg(kTimerReload) = 0xFFFFFFFFu;
  reg(kTimerValue) = 0xFFFFFFFFu;
  reg(kTimerCtrl) = 1u;  // enable, no interrupt
  tr::mps::set_rate(115200u);
}

uint32_t tr_port_cycles(void) { return 0xFFFFFFFFu - reg(kTimerValue); }
uint32_t tr_port_clock_hz(void) { return tr::mps::family::kUartHz; }

}  // extern "C"
