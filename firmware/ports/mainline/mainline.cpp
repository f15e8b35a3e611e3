// mainline.cpp: the core's own registers: faults, caches, cycle counter. Register names are the
// sections of DDI0403 and DDI0553 (Armv7-M and Armv8-M Architecture Reference Manuals) that
// describe them.
#include "mainline.hpp"

namespace tr::mainline {
namespace {

using cortexm::barrier;
using cortexm::reg;

constexpr uint32_t kCcr = 0xE000ED14u;      // Configuration and Control Register, CCR
constexpr uint32_t kShcsr = 0xE000ED24u;    // System Handler Control and State Register, SHCSR
constexpr uint32_t kCcsidr = 0xE000ED80u;   // Cache Size ID Registers, CCSIDR
constexpr uint32_t kCsselr = 0xE000ED84u;   // Cache Size Selection Register, CSSELR
constexpr uint32_t kDemcr = 0xE000EDFCu;    // Debug Exception and Monitor Control, DEMCR
constexpr uint32_t kIciallu = 0xE000EF50u;  // Cache and branch predictor operations, ICIALLU
constexpr uint32_t kDcisw = 0xE000EF60u;    // Cache and branch predictor operations, DCISW
constexpr uint32_t kDwtCtrl = 0xE0001000u;  // DWT Control register, DWT_CTRL
constexpr uint32_t kDwtCyccnt = 0xE0001004u;
constexpr uint32_t kDwtLar = 0xE0001FB0u;  // CoreSight Lock Access Register (PM0253: on the M7)

}  // namespace

void faults_on() {
  reg(kShcsr) = reg(kShcsr) | (7u << 16);  // SHCSR: MEMFAULTENA, BUSFAULTENA, USGFAULTENA
  reg(kCcr) = reg(kCcr) | (1u << 4);       // CCR: DIV_0_TRP
}

void caches_on() {
  // Instruction cache: invalidate, then CCR.IC. Data cache: invalidate every line of level 1 by
  // set and way (its content is unknown after reset), then CCR.DC.
  barrier();
  reg(kIciallu) = 0;
  barrier();
  // A bootloader may have left the data cache on: its lines are valid, and to drop those that were
  // not written back would lose what start-up has just written.
  if ((reg(kCcr) & (1u << 16)) != 0) {
    reg(kCcr) = reg(kCcr) | (1u << 17);
    barrier();
    return;
  }
  reg(kCsselr) = 0;
  barrier();
  const uint32_t size = reg(kCcsidr);
  const uint32_t sets = (size >> 13) & 0x7FFFu;
  const uint32_t ways = (size >> 3) & 0x3FFu;
  for (uint32_t set = 0; set <= sets; ++set) {
    for (uint32_t way = 0; way <= ways; ++way) {
      reg(kDcisw) = (way << 30) | (set << 5);  // 32-byte lines, at most four ways
    }
  }
  barrier();
  reg(kCcr) = reg(kCcr) | (1u << 16) | (1u << 17);
  barrier();
}

void cycle_counter_on() {
  reg(kDemcr) = reg(kDemcr) | (1u << 24);  // DEMCR: TRCENA
  reg(kDwtLar) = 0xC5ACCE55u;
  reg(kDwtCyccnt) = 0;
  reg(kDwtCtrl) = reg(kDwtCtrl) | 1u;  // DWT_CTRL: CYCCNTENA
}

}  // namespace tr::mainline
