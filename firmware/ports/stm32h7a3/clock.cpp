// clock.cpp: 280 MHz on an STM32H7A3. RM0455 is its reference manual; each register has a section
// of its own in the chapter named beside it. DS13195 is the data sheet. The registers are mostly
// those of an STM32H743 at other addresses; the codes of VOS are the other way round.
//
// PLL1 gets 8 MHz: from the ST-LINK's MCO on OSC_IN (UM2408, "OSC clock supply") when it is there,
// which makes milliseconds as exact as a crystal, else from HSI (64 MHz) divided by 8.
#include "stm32.hpp"

extern "C" {
extern const uint32_t tr_setting_supply;
}

namespace tr::stm32 {
namespace {

// RM0455, "Power control (PWR)"
constexpr uint32_t kPwr = 0x58024800u;
constexpr uint32_t kPwrCsr1 = kPwr + 0x04u;
constexpr uint32_t kPwrCr3 = kPwr + 0x0Cu;
constexpr uint32_t kPwrSrdcr = kPwr + 0x18u;
// RM0455, "Reset and clock control (RCC)"
constexpr uint32_t kRcc = 0x58024400u;
constexpr uint32_t kRccCr = kRcc + 0x00u;
constexpr uint32_t kRccCfgr = kRcc + 0x10u;
constexpr uint32_t kRccCdcfgr1 = kRcc + 0x18u;
constexpr uint32_t kRccCdcfgr2 = kRcc + 0x1Cu;
constexpr uint32_t kRccSrdcfgr = kRcc + 0x20u;
constexpr uint32_t kRccPllckselr = kRcc + 0x28u;
constexpr uint32_t kRccPllcfgr = kRcc + 0x2Cu;
constexpr uint32_t kRccPll1divr = kRcc + 0x30u;
constexpr uint32_t kRccCdccip2r = kRcc + 0x54u;
// RM0455, "Embedded flash memory (FLASH)"
constexpr uint32_t kFlashAcr = 0x52002000u;

void scale(uint32_t vos) {
  set_bits(kPwrSrdcr, 3u << 14, vos << 14);
  wait_set(kPwrSrdcr, 1u << 13);  // VOSRDY
}

void core_supply_on() {
  // PWR_CR3: how the core is supplied can be written once after power-on, and no voltage scale
  // changes before (RM0455, "System supply startup"). Then PWR_CSR1.ACTVOSRDY.
  set_bits(kPwrCr3, 0x3Fu, tr_setting_supply);
  wait_set(kPwrCsr1, 1u << 13);
  // PWR_SRDCR: VOS = 3 is scale 0, which can be entered from scale 1 (VOS = 2) only (RM0455,
  // "Voltage scaling").
  scale(2u);
  scale(3u);
}

void pll_on() {
  const bool external = external_clock_on(kRccCr);
  // RCC_PLLCKSELR: DIVM1, PLLSRC (0 HSI, 2 HSE)
  reg(kRccPllckselr) = external ? ((1u << 4) | 2u) : ((8u << 4) | 0u);
  // RCC_PLL1DIVR: DIVN1 = 70 (VCO 560 MHz; DS13195, "PLL characteristics"), DIVP1 = 2, DIVQ1 and
  // DIVR1 = 8, each less one
  reg(kRccPll1divr) = 69u | (1u << 9) | (7u << 16) | (7u << 24);
  // RCC_PLLCFGR: DIVP1EN, PLL1RGE = 3 (8 to 16 MHz), PLL1VCOSEL = 0 (wide), no fraction
  reg(kRccPllcfgr) = (1u << 16) | (3u << 2);
  reg(kRccCr) = reg(kRccCr) | (1u << 24);  // PLL1ON
  wait_set(kRccCr, 1u << 25);              // PLL1RDY
}

}  // namespace

Clocks clocks_on() {
  core_supply_on();
  pll_on();
  // FLASH_ACR: LATENCY = 6 and WRHIGHFREQ = 3 for 280 MHz in VOS0 (RM0455, FLASH, table "FLASH
  // recommended number of wait states and programming delay"). Read back.
  reg(kFlashAcr) = (3u << 4) | 6u;
  wait_for(kFlashAcr, 0xFu, 6u);
  // RCC_CDCFGR1: CDCPRE = HPRE = 1, CDPPRE = 2. RCC_CDCFGR2: CDPPRE1 = CDPPRE2 = 2. RCC_SRDCFGR:
  // SRDPPRE = 2. Core, AXI and AHBs at full rate, APBs at half.
  reg(kRccCdcfgr1) = 4u << 4;
  reg(kRccCdcfgr2) = (4u << 8) | (4u << 4);
  reg(kRccSrdcfgr) = 4u << 4;
  // RCC_CFGR: SW = 3 (PLL1), SWS follows.
  set_bits(kRccCfgr, 7u, 3u);
  wait_for(kRccCfgr, 7u << 3, 3u << 3);
  reg(kRccCdccip2r) = reg(kRccCdccip2r) & ~7u;  // USART234578SEL = 0: APB1
  return {280000000u, 140000000u};
}

}  // namespace tr::stm32
