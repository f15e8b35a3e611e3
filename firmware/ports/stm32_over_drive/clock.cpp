// clock.cpp: the highest clock of STM32F4 and F7, which needs over-drive. RM0390 (F446) and RM0410
// (F7) are the reference manuals; each register has a section of its own in the chapter named
// beside it. What differs between the families is in their family.hpp.
//
// The PLL gets 2 MHz: from the ST-LINK's MCO on OSC_IN (UM1724 and UM1974, "OSC clock") when it is
// there, which makes milliseconds as exact as a crystal, else from HSI (16 MHz).
#include "family.hpp"
#include "stm32.hpp"

namespace tr::stm32 {
namespace {

// "Reset and clock control (RCC)"
constexpr uint32_t kRcc = 0x40023800u;
constexpr uint32_t kRccCr = kRcc + 0x00u;
constexpr uint32_t kRccPllcfgr = kRcc + 0x04u;
constexpr uint32_t kRccCfgr = kRcc + 0x08u;
constexpr uint32_t kRccApb1enr = kRcc + 0x40u;
constexpr uint32_t kRccDckcfgr2 = kRcc + 0x90u;  // F7
// "Power controller (PWR)": PWR_CR and PWR_CSR, with a 1 behind their names on F7
constexpr uint32_t kPwrCr = 0x40007000u;
constexpr uint32_t kPwrCsr = 0x40007004u;
// "Embedded Flash memory"
constexpr uint32_t kFlashAcr = 0x40023C00u;

void pll_on() {
  const bool external = external_clock_on(kRccCr);
  // RCC_PLLCFGR: PLLM, PLLN (VCO 2 MHz times that), PLLP = 0 (divided by 2), PLLSRC, PLLQ
  // (48 MHz), PLLR = 2
  const uint32_t divide = external ? 4u : 8u;
  reg(kRccPllcfgr) = divide | (family::kPllN << 6) | (external ? 1u << 22 : 0u) |
                     (family::kPllQ << 24) | (2u << 28);
  reg(kRccCr) = reg(kRccCr) | (1u << 24);  // PLLON; PLLRDY is waited for below
}

void over_drive_on() {
  // "Entering Over-drive mode": the highest clock needs it (data sheet, "General operating
  // conditions").
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
  // FLASH_ACR: the wait states of table "Number of wait states according to CPU clock (HCLK)
  // frequency", 2.7 to 3.6 V, and what of the accelerator serves the image. Read back.
  reg(kFlashAcr) = family::kFlashAccelerator | family::kFlashWaits;
  wait_for(kFlashAcr, 0xFu, family::kFlashWaits);
  wait_set(kRccCr, 1u << 25);  // PLLRDY
  // RCC_CFGR: PPRE1 = 5 (a quarter), PPRE2 = 4 (a half); SW = 2 (PLL), SWS follows.
  set_bits(kRccCfgr, (7u << 10) | (7u << 13), (5u << 10) | (4u << 13));
  set_bits(kRccCfgr, 3u, 2u);
  wait_for(kRccCfgr, 3u << 2, 2u << 2);
  if constexpr (family::kUartChoice) {
    reg(kRccDckcfgr2) = reg(kRccDckcfgr2) & ~(3u << 4);  // USART3SEL = 0: APB1
  }
  constexpr uint32_t core_hz = family::kPllN * 1000000u;
  return {core_hz, core_hz / 4u};
}

}  // namespace tr::stm32
