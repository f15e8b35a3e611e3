// clock.cpp: 180 MHz on an STM32F446. RM0390 is its reference manual; each register has a section
// of its own in the chapter named beside it. DS10693 is the data sheet.
//
// The PLL gets 2 MHz: from the ST-LINK's MCO on OSC_IN (UM1724, "OSC clock") when it is there,
// which makes milliseconds as exact as a crystal, else from HSI (16 MHz).
#include "stm32.hpp"

namespace tr::stm32 {
namespace {

// RM0390, "Reset and clock control (RCC)"
constexpr uint32_t kRcc = 0x40023800u;
constexpr uint32_t kRccCr = kRcc + 0x00u;
constexpr uint32_t kRccPllcfgr = kRcc + 0x04u;
constexpr uint32_t kRccCfgr = kRcc + 0x08u;
constexpr uint32_t kRccApb1enr = kRcc + 0x40u;
// RM0390, "Power controller (PWR)"
constexpr uint32_t kPwrCr = 0x40007000u;
constexpr uint32_t kPwrCsr = 0x40007004u;
// RM0390, "Embedded Flash memory interface"
constexpr uint32_t kFlashAcr = 0x40023C00u;

void pll_on() {
  const bool external = external_clock_on(kRccCr);
  // RCC_PLLCFGR: PLLM, PLLN = 180 (VCO 360 MHz), PLLP = 0 (divided by 2), PLLSRC, PLLQ = 8,
  // PLLR = 2
  const uint32_t divide = external ? 4u : 8u;
  reg(kRccPllcfgr) = divide | (180u << 6) | (external ? 1u << 22 : 0u) | (8u << 24) | (2u << 28);
  reg(kRccCr) = reg(kRccCr) | (1u << 24);  // PLLON; PLLRDY is waited for below
}

void over_drive_on() {
  // RM0390, "Entering Over-drive mode": 180 MHz needs it (DS10693, "General operating conditions").
  reg(kPwrCr) = reg(kPwrCr) | (1u << 16);  // ODEN
  wait_set(kPwrCsr, 1u << 16);             // ODRDY
  reg(kPwrCr) = reg(kPwrCr) | (1u << 17);  // ODSWEN
  wait_set(kPwrCsr, 1u << 17);             // ODSWRDY
}

}  // namespace

Clocks clocks_on() {
  // RCC_APB1ENR: PWREN. PWR_CR: VOS = 3, scale 1, to be set while the PLL is off.
  reg(kRccApb1enr) = reg(kRccApb1enr) | (1u << 28);
  [[maybe_unused]] const uint32_t running = reg(kRccApb1enr);
  reg(kPwrCr) = reg(kPwrCr) | (3u << 14);
  pll_on();
  over_drive_on();
  // FLASH_ACR: 5 wait states (RM0390, table "Number of wait states according to CPU clock (HCLK)
  // frequency", 2.7 to 3.6 V), and the accelerator: PRFTEN, ICEN, DCEN. Read back.
  reg(kFlashAcr) = (7u << 8) | 5u;
  wait_for(kFlashAcr, 0xFu, 5u);
  wait_set(kRccCr, 1u << 25);  // PLLRDY
  // RCC_CFGR: PPRE1 = 5 (45 MHz), PPRE2 = 4 (90 MHz); SW = 2 (PLL), SWS follows.
  set_bits(kRccCfgr, (7u << 10) | (7u << 13), (5u << 10) | (4u << 13));
  set_bits(kRccCfgr, 3u, 2u);
  wait_for(kRccCfgr, 3u << 2, 2u << 2);
  return {180000000u, 45000000u};
}

}  // namespace tr::stm32
