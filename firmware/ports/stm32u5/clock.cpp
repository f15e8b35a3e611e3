// clock.cpp: the highest core clock of an STM32U575. RM0456 is the STM32U5 series reference manual;
// each register below has a section of its own in the chapter named beside it. DS13737 is the data
// sheet. TrustZone is off (option bit TZEN = 0, as the chip is delivered), so every address is the
// non-secure one.
//
// PLL1 gets HSI16, which is there on every board and within 1 % (DS13737, "HSI16 oscillator
// characteristics"): good enough for a UART.
#include "stm32.hpp"

namespace tr::stm32 {
namespace {

// RM0456, "Reset and clock control (RCC)"
constexpr uint32_t kRcc = 0x46020C00u;
constexpr uint32_t kRccCr = kRcc + 0x00u;
constexpr uint32_t kRccCfgr1 = kRcc + 0x1Cu;
constexpr uint32_t kRccCfgr2 = kRcc + 0x20u;
constexpr uint32_t kRccCfgr3 = kRcc + 0x24u;
constexpr uint32_t kRccPll1cfgr = kRcc + 0x28u;
constexpr uint32_t kRccPll1divr = kRcc + 0x34u;
constexpr uint32_t kRccAhb3enr = kRcc + 0x94u;
constexpr uint32_t kRccCcipr1 = kRcc + 0xE0u;
// RM0456, "Power control (PWR)"
constexpr uint32_t kPwr = 0x46020800u;
constexpr uint32_t kPwrCr3 = kPwr + 0x08u;
constexpr uint32_t kPwrVosr = kPwr + 0x0Cu;
constexpr uint32_t kPwrSvmsr = kPwr + 0x3Cu;
// RM0456, "Embedded flash memory (FLASH)"
constexpr uint32_t kFlashAcr = 0x40022000u;
// RM0456, "Instruction cache (ICACHE)"
constexpr uint32_t kIcacheCr = 0x40030400u;
constexpr uint32_t kIcacheSr = 0x40030404u;

// Range 1 is what 160 MHz needs, with the booster above 55 MHz (RM0456, PWR, "Dynamic voltage
// scaling management"). The booster takes the PLL's source, 4 to 16 MHz, so that comes first.
void supply_up() {
  reg(kRccAhb3enr) = reg(kRccAhb3enr) | (1u << 2);  // RCC_AHB3ENR: PWREN
  [[maybe_unused]] const uint32_t running = reg(kRccAhb3enr);
  // PWR_CR3: REGSEL, the step-down converter that the ZIT6Q has (UM2861); PWR_SVMSR: REGS.
  reg(kPwrCr3) = reg(kPwrCr3) | (1u << 1);
  wait_set(kPwrSvmsr, 1u << 1);
  reg(kPwrVosr) = reg(kPwrVosr) | (3u << 16);  // PWR_VOSR: VOS = 3, range 1; VOSRDY
  wait_set(kPwrVosr, 1u << 15);
  reg(kRccCr) = reg(kRccCr) | (1u << 8);  // RCC_CR: HSION, HSIRDY
  wait_set(kRccCr, 1u << 10);
  // RCC_PLL1CFGR: PLL1SRC = 2 (HSI16), PLL1RGE = 3 (8 to 16 MHz), PLL1M = 1, PLL1MBOOST = 0 (16 MHz
  // for the booster), PLL1REN.
  reg(kRccPll1cfgr) = 2u | (3u << 2) | (1u << 18);
  reg(kPwrVosr) = reg(kPwrVosr) | (1u << 18);  // PWR_VOSR: BOOSTEN, BOOSTRDY
  wait_set(kPwrVosr, 1u << 14);
}

}  // namespace

Clocks clocks_on() {
  supply_up();
  // RCC_PLL1DIVR: 16 MHz * 20 = 320 MHz / 2 (PLL1R); PLL1P and PLL1Q = 2; each less one.
  reg(kRccPll1divr) = 19u | (1u << 9) | (1u << 16) | (1u << 24);
  reg(kRccCr) = reg(kRccCr) | (1u << 24);  // RCC_CR: PLL1ON, PLL1RDY
  wait_set(kRccCr, 1u << 25);

  // FLASH_ACR: LATENCY = 4 (RM0456, FLASH, "Number of wait states according to CPU clock (HCLK)
  // frequency": 160 MHz in range 1), PRFTEN; read back.
  reg(kFlashAcr) = (1u << 8) | 4u;
  wait_for(kFlashAcr, 0xFu, 4u);
  // RCC_CFGR2: HPRE = 2 while the clock steps up by more than 80 MHz, for a microsecond at least
  // (RM0456, RCC, "System clock (SYSCLK) selection"). RCC_CFGR1: SW = 3 (PLL1), SWS follows.
  reg(kRccCfgr3) = 0;
  reg(kRccCfgr2) = 8u;
  set_bits(kRccCfgr1, 3u, 3u);
  wait_for(kRccCfgr1, 3u << 2, 3u << 2);
  for (uint32_t i = 0; i < 100u; ++i) cortexm::barrier();  // at 80 MHz, two cycles and more each
  reg(kRccCfgr2) = 0;

  // ICACHE: it invalidates itself after reset (ICACHE_SR.BUSYF); ICACHE_CR: EN.
  wait_for(kIcacheSr, 1u, 0);
  reg(kIcacheCr) = reg(kIcacheCr) | 1u;

  reg(kRccCcipr1) = reg(kRccCcipr1) & ~3u;  // USART1SEL = 0: PCLK2, 160 MHz
  return {160000000u, 160000000u};
}

}  // namespace tr::stm32
