// clock.cpp: 120 MHz on an STM32L4R5, in range 1 boost mode. RM0432 is its reference manual; each
// register has a section of its own in the chapter named beside it. DS12023 is the data sheet.
//
// The PLL gets 4 MHz: from a clock of 8 MHz on OSC_IN (the ST-LINK's MCO, where UM2179's solder
// bridges join it) when it is there, else from HSI16.
#include "stm32.hpp"

namespace tr::stm32 {
namespace {

// RM0432, "Reset and clock control (RCC)"
constexpr uint32_t kRcc = 0x40021000u;
constexpr uint32_t kRccCr = kRcc + 0x00u;
constexpr uint32_t kRccCfgr = kRcc + 0x08u;
constexpr uint32_t kRccPllcfgr = kRcc + 0x0Cu;
constexpr uint32_t kRccApb1enr1 = kRcc + 0x58u;
constexpr uint32_t kRccCcipr = kRcc + 0x88u;
// RM0432, "Power control (PWR)"
constexpr uint32_t kPwr = 0x40007000u;
constexpr uint32_t kPwrCr1 = kPwr + 0x00u;
constexpr uint32_t kPwrCr2 = kPwr + 0x04u;
constexpr uint32_t kPwrSr2 = kPwr + 0x14u;
constexpr uint32_t kPwrCr5 = kPwr + 0x80u;
// RM0432, "Embedded Flash memory (FLASH)"
constexpr uint32_t kFlashAcr = 0x40022000u;

void power_on() {
  // RCC_APB1ENR1: PWREN
  reg(kRccApb1enr1) = reg(kRccApb1enr1) | (1u << 28);
  [[maybe_unused]] const uint32_t running = reg(kRccApb1enr1);
  // PWR_CR1: VOS = 1, range 1; PWR_SR2: VOSF. PWR_CR5: R1MODE = 0, boost (DS12023, "General
  // operating conditions": above 80 MHz).
  set_bits(kPwrCr1, 3u << 9, 1u << 9);
  wait_for(kPwrSr2, 1u << 10, 0);
  reg(kPwrCr5) = reg(kPwrCr5) & ~(1u << 8);
  // PWR_CR2: IOSV. PG2 to PG15 are supplied by VDDIO2, and cut off until this says that it is
  // there (RM0432, "Independent I/O supply rail"); the board joins it to VDD (UM2179).
  reg(kPwrCr2) = reg(kPwrCr2) | (1u << 9);
}

void pll_on() {
  const bool external = external_clock_on(kRccCr);
  if (!external) {
    reg(kRccCr) = reg(kRccCr) | (1u << 8);  // HSION
    wait_set(kRccCr, 1u << 10);             // HSIRDY
  }
  // RCC_PLLCFGR: PLLSRC (3 HSE, 2 HSI16), PLLM less one, PLLN = 60 (VCO 240 MHz), PLLREN, PLLR = 0
  // (divided by 2)
  reg(kRccPllcfgr) = (external ? 3u | (1u << 4) : 2u | (3u << 4)) | (60u << 8) | (1u << 24);
  reg(kRccCr) = reg(kRccCr) | (1u << 24);  // PLLON
  wait_set(kRccCr, 1u << 25);              // PLLRDY
}

}  // namespace

Clocks clocks_on() {
  power_on();
  pll_on();
  // FLASH_ACR: 5 wait states (RM0432, table "Number of wait states according to CPU clock (HCLK)
  // frequency", range 1 boost), and the accelerator: PRFTEN, ICEN, DCEN. Read back.
  reg(kFlashAcr) = (7u << 8) | 5u;
  wait_for(kFlashAcr, 0xFu, 5u);
  // RM0432, "Dynamic voltage scaling management": from below 80 MHz to above through half of it,
  // HPRE = 8 (divided by 2), for a microsecond. RCC_CFGR: SW = 3 (PLL), SWS follows.
  set_bits(kRccCfgr, 0xFu << 4, 8u << 4);
  set_bits(kRccCfgr, 3u, 3u);
  wait_for(kRccCfgr, 3u << 2, 3u << 2);
  for (uint32_t i = 0; i < 100u; ++i) cortexm::barrier();  // at 60 MHz, two cycles and more each
  set_bits(kRccCfgr, 0xFu << 4, 0);
  reg(kRccCcipr) = reg(kRccCcipr) & ~(3u << 10);  // LPUART1SEL = 0: APB1, 120 MHz
  return {120000000u, 120000000u};
}

}  // namespace tr::stm32
