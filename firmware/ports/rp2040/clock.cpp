// clock.cpp: 133 MHz, the highest that the RP2040 datasheet allows (Raspberry Pi, build of 2024;
// section names below are its own), at the default 1.1 V. 12 MHz crystal * 133 / 6 / 2.
#include "clock.hpp"

#include "armv6m.hpp"

namespace tr::rp2040 {
namespace {

using armv6m::reg;

// "Clocks", "List of Registers"
constexpr uint32_t kClocks = 0x40008000u;
constexpr uint32_t kRefCtrl = kClocks + 0x30u;
constexpr uint32_t kRefDiv = kClocks + 0x34u;
constexpr uint32_t kRefSelected = kClocks + 0x38u;
constexpr uint32_t kSysCtrl = kClocks + 0x3Cu;
constexpr uint32_t kSysDiv = kClocks + 0x40u;
constexpr uint32_t kSysSelected = kClocks + 0x44u;
constexpr uint32_t kPeriCtrl = kClocks + 0x48u;
constexpr uint32_t kResusCtrl = kClocks + 0x78u;
// "Subsystem Resets", "List of Registers"
constexpr uint32_t kReset = 0x4000C000u;
constexpr uint32_t kResetDone = 0x4000C008u;
constexpr uint32_t kIoBank0 = 1u << 5;
constexpr uint32_t kPadsBank0 = 1u << 8;
constexpr uint32_t kPllSys = 1u << 12;
constexpr uint32_t kSysinfo = 1u << 19;
constexpr uint32_t kTimer = 1u << 21;
constexpr uint32_t kUart0 = 1u << 22;
// "Crystal Oscillator (XOSC)", "List of Registers"
constexpr uint32_t kXosc = 0x40024000u;
constexpr uint32_t kXoscCtrl = kXosc + 0x00u;
constexpr uint32_t kXoscStatus = kXosc + 0x04u;
constexpr uint32_t kXoscStartup = kXosc + 0x0Cu;
// "PLL", "List of Registers"
constexpr uint32_t kPll = 0x40028000u;
constexpr uint32_t kPllCs = kPll + 0x00u;
constexpr uint32_t kPllPwr = kPll + 0x04u;
constexpr uint32_t kPllFbdiv = kPll + 0x08u;
constexpr uint32_t kPllPrim = kPll + 0x0Cu;
// "Watchdog", "Tick generation"
constexpr uint32_t kTick = 0x4005802Cu;

void wait(uint32_t address, uint32_t mask, uint32_t value) {
  while ((reg(address) & mask) != value) {
  }
}

void out_of_reset(uint32_t which) {
  reg(kReset) = reg(kReset) | which;  // whatever state it was left in
  reg(kReset) = reg(kReset) & ~which;
  wait(kResetDone, which, which);
}

void crystal_on() {
  // "XOSC", "Startup Delay": 47 * 256 periods of 12 MHz are a millisecond.
  reg(kXoscStartup) = 47u;
  // CTRL: FREQ_RANGE = 1_15MHZ, ENABLE
  reg(kXoscCtrl) = (0xFABu << 12) | 0xAA0u;
  wait(kXoscStatus, 1u << 31, 1u << 31);  // STABLE
}

void pll_on() {
  out_of_reset(kPllSys);
  // "PLL", "Configuration": reference 12 MHz, VCO 12 * 133 = 1596 MHz (750 to 1600 allowed)
  reg(kPllPwr) = (1u << 5) | (1u << 3) | (1u << 2) | 1u;  // VCOPD, POSTDIVPD, DSMPD, PD: all off
  reg(kPllCs) = 1u;                                       // REFDIV
  reg(kPllFbdiv) = 133u;
  reg(kPllPwr) = reg(kPllPwr) & ~((1u << 5) | 1u);  // VCOPD, PD off
  wait(kPllCs, 1u << 31, 1u << 31);                 // LOCK
  reg(kPllPrim) = (6u << 16) | (2u << 12);          // POSTDIV1, POSTDIV2
  reg(kPllPwr) = reg(kPllPwr) & ~(1u << 3);         // POSTDIVPD off
}

}  // namespace

void clocks_on() {
  reg(kResusCtrl) = 0;
  crystal_on();
  // "Clock Generators", "Glitchless Mux": first away from what will be changed. A reset of the core
  // alone (SYSRESETREQ) leaves all of this as it was. SELECTED has one bit per source.
  reg(kSysCtrl) = reg(kSysCtrl) & ~1u;  // SRC = clk_ref
  wait(kSysSelected, 3u, 1u << 0);
  reg(kRefCtrl) = 2u;  // SRC = XOSC
  wait(kRefSelected, 7u, 1u << 2);
  reg(kRefDiv) = 1u << 8;
  pll_on();
  reg(kSysDiv) = 1u << 8;
  reg(kSysCtrl) = 0u << 5;         // AUXSRC = PLL_SYS, while it is not used
  reg(kSysCtrl) = (0u << 5) | 1u;  // SRC = aux
  wait(kSysSelected, 3u, 1u << 1);
  reg(kPeriCtrl) = 0;            // AUXSRC = clk_sys, while it stands still
  reg(kPeriCtrl) = 1u << 11;     // ENABLE
  reg(kTick) = (1u << 9) | 12u;  // ENABLE, 12 periods of the crystal: a microsecond
  out_of_reset(kIoBank0 | kPadsBank0 | kSysinfo | kTimer | kUart0);
}

}  // namespace tr::rp2040
