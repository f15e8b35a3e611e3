// clock.cpp: the highest core clock that the silicon allows. RM0433 is the STM32H742, STM32H743/753
// and STM32H750 reference manual; each register below has a section of its own in the chapter named
// beside it. DS12110 is the data sheet.
//
// PLL1 gets 8 MHz: from the ST-LINK's MCO on OSC_IN (UM1974 and UM2407, where they describe the OSC
// clock) when it is there, which makes milliseconds as exact as a crystal, else from HSI (64 MHz)
// divided by 8.
#include "clock.hpp"

#include "armv7m.hpp"

namespace tr::stm32h7 {
namespace {

using armv7m::reg;

// RM0433, "Power control (PWR)"
constexpr uint32_t kPwr = 0x58024800u;
constexpr uint32_t kPwrCsr1 = kPwr + 0x04u;
constexpr uint32_t kPwrCr3 = kPwr + 0x0Cu;
constexpr uint32_t kPwrD3cr = kPwr + 0x18u;
// RM0433, "Reset and clock control (RCC)"
constexpr uint32_t kRcc = 0x58024400u;
constexpr uint32_t kRccCr = kRcc + 0x00u;
constexpr uint32_t kRccCfgr = kRcc + 0x10u;
constexpr uint32_t kRccD1cfgr = kRcc + 0x18u;
constexpr uint32_t kRccD2cfgr = kRcc + 0x1Cu;
constexpr uint32_t kRccD3cfgr = kRcc + 0x20u;
constexpr uint32_t kRccPllckselr = kRcc + 0x28u;
constexpr uint32_t kRccPllcfgr = kRcc + 0x2Cu;
constexpr uint32_t kRccPll1divr = kRcc + 0x30u;
constexpr uint32_t kRccApb4enr = kRcc + 0xF4u;
// RM0433, "System configuration controller (SYSCFG)"
constexpr uint32_t kSyscfgPwrcr = 0x58000400u + 0x2Cu;
// RM0433, "Embedded flash memory (FLASH)"
constexpr uint32_t kFlashAcr = 0x52002000u;
// RM0433, "Debug infrastructure", DBGMCU identity code register; ES0392 lists the revisions
constexpr uint32_t kDbgmcuIdcode = 0x5C001000u;
constexpr uint32_t kRevisionX = 0x2001u;
constexpr uint32_t kRevisionV = 0x2003u;
// RM0433, "AXI interconnect": target 7 is the AXI SRAM
constexpr uint32_t kAxiTarg7FnMod = 0x51008108u;

// DS12110, "High-speed external user clock": the ST-LINK's clock is there at once or not at all.
// HSI runs at 64 MHz, so this is about a millisecond.
constexpr uint32_t kHseTries = 10000u;

void wait_set(uint32_t address, uint32_t bits) {
  while ((reg(address) & bits) != bits) {
  }
}

void core_supply_on() {
  // PWR_CR3: LDOEN, not SCUEN or BYPASS. Its lower byte can be written once after power-on, and
  // must be before VOS changes. Then PWR_CSR1.ACTVOSRDY.
  reg(kPwrCr3) = (reg(kPwrCr3) & ~((1u << 2) | 1u)) | (1u << 1);
  wait_set(kPwrCsr1, 1u << 13);
  // PWR_D3CR: VOS = 3, voltage scaling 1; VOSRDY.
  reg(kPwrD3cr) = reg(kPwrD3cr) | (3u << 14);
  wait_set(kPwrD3cr, 1u << 13);
}

void core_supply_boost() {
  // RM0433, PWR, "Voltage scaling": VOS0 is VOS1 plus SYSCFG_PWRCR.ODEN; SYSCFG needs its clock
  // (RCC_APB4ENR.SYSCFGEN; the read back waits until it runs).
  reg(kRccApb4enr) = reg(kRccApb4enr) | (1u << 1);
  [[maybe_unused]] const uint32_t running = reg(kRccApb4enr);
  reg(kSyscfgPwrcr) = reg(kSyscfgPwrcr) | 1u;
  wait_set(kPwrD3cr, 1u << 13);
}

bool external_clock_on() {
  // RCC_CR: HSEBYP, then HSEON; HSERDY follows when OSC_IN has a clock.
  reg(kRccCr) = reg(kRccCr) | (1u << 18);
  reg(kRccCr) = reg(kRccCr) | (1u << 16);
  for (uint32_t i = 0; i < kHseTries; ++i) {
    if ((reg(kRccCr) & (1u << 17)) != 0) return true;
  }
  reg(kRccCr) = reg(kRccCr) & ~(1u << 16);
  return false;
}

}  // namespace

Clocks clocks_on() {
  // 480 MHz needs VOS0, which only revision V has (DS12110, "General operating conditions").
  const uint32_t revision = reg(kDbgmcuIdcode) >> 16;
  const bool fast = revision == kRevisionV;
  // ES0392, "Reading from AXI SRAM may lead to data read corruption", revision Y and earlier: one
  // read at a time (READ_ISS_OVERRIDE). Nothing has read the AXI SRAM yet.
  if (revision < kRevisionX) reg(kAxiTarg7FnMod) = 1u;
  core_supply_on();
  if (fast) core_supply_boost();

  // PLL1: 8 MHz * 120 = 960 MHz / 2, or 8 MHz * 100 = 800 MHz / 2 (DS12110, "PLL
  // characteristics": VCO to 960 MHz in VOS0, to 836 MHz else).
  const uint32_t multiply = fast ? 120u : 100u;
  const bool external = external_clock_on();
  // RCC_PLLCKSELR: DIVM1, PLLSRC (0 HSI, 2 HSE)
  reg(kRccPllckselr) = external ? ((1u << 4) | 2u) : ((8u << 4) | 0u);
  // RCC_PLL1DIVR: DIVN1, DIVP1 = 2, DIVQ1 and DIVR1 = 8, each less one
  reg(kRccPll1divr) = (multiply - 1u) | (1u << 9) | (7u << 16) | (7u << 24);
  // RCC_PLLCFGR: DIVP1EN, PLL1RGE = 3 (8 to 16 MHz), PLL1VCOSEL = 0 (wide), no fraction
  reg(kRccPllcfgr) = (1u << 16) | (3u << 2);
  // RCC_CR: PLL1ON, PLL1RDY
  reg(kRccCr) = reg(kRccCr) | (1u << 24);
  wait_set(kRccCr, 1u << 25);

  // FLASH_ACR: LATENCY and WRHIGHFREQ for AXI at 240 MHz in VOS0 or 200 MHz in VOS1 (RM0433,
  // FLASH, table "FLASH recommended number of wait states and programming delay"); read back.
  const uint32_t wait_states = fast ? 4u : 2u;
  reg(kFlashAcr) = (2u << 4) | wait_states;
  while ((reg(kFlashAcr) & 0xFu) != wait_states) {
  }

  // RCC_D1CFGR: D1CPRE = 1, HPRE = 2, D1PPRE = 2. RCC_D2CFGR: D2PPRE1 = D2PPRE2 = 2.
  // RCC_D3CFGR: D3PPRE = 2. Core at full rate, AXI and AHB at half, APBs at a quarter.
  reg(kRccD1cfgr) = (0u << 8) | (4u << 4) | 8u;
  reg(kRccD2cfgr) = (4u << 8) | (4u << 4);
  reg(kRccD3cfgr) = 4u << 4;
  // RCC_CFGR: SW = 3 (PLL1), SWS follows.
  reg(kRccCfgr) = (reg(kRccCfgr) & ~7u) | 3u;
  while (((reg(kRccCfgr) >> 3) & 7u) != 3u) {
  }

  const uint32_t core = multiply * 4000000u;
  return {core, core / 4u};
}

}  // namespace tr::stm32h7
