// clock.cpp: the highest core clock that the silicon allows. RM0433 is the STM32H742, STM32H743/753
// and STM32H750 reference manual, and RM0399 that of the STM32H745/755 and STM32H747/757, whose
// Cortex-M7 finds the same; each register below has a section of its own in the chapter named
// beside it. DS12110 and DS12930 are the data sheets.
//
// PLL1 gets 8 MHz from the ST-LINK's MCO on OSC_IN (UM1974 and UM2407, where they describe the OSC
// clock), or 5 MHz from an oscillator of 25 MHz, when it is there, which makes milliseconds as
// exact as a crystal; else 8 MHz from HSI (64 MHz).
#include "stm32.hpp"
#include "tr_image.h"

extern "C" {
extern const uint32_t tr_setting_supply;
extern const uint32_t tr_setting_hse_hz;
extern const char tr_setting_hse_enable[];
}

namespace tr::stm32 {
namespace {

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
constexpr uint32_t kRccD2ccip2r = kRcc + 0x54u;
constexpr uint32_t kRccAhb3rstr = kRcc + 0x7Cu;
constexpr uint32_t kRccAhb1rstr = kRcc + 0x80u;
constexpr uint32_t kRccAhb4rstr = kRcc + 0x88u;
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

void reset_masters(uint32_t address, uint32_t bits) {
  reg(address) = bits;
  [[maybe_unused]] const uint32_t held = reg(address);
  reg(address) = 0;
}

// A bootloader jumps to the image, it does not reset the chip: its USB or DMA could go on writing
// to RAM, and its clock runs from a PLL, which could not be set up again.
void undo_bootloader() {
  reset_masters(kRccAhb1rstr, (1u << 0) | (1u << 1) | (1u << 15) | (1u << 25) | (1u << 27));
  reset_masters(kRccAhb3rstr, (1u << 0) | (1u << 4) | (1u << 16));  // MDMA, DMA2D, SDMMC1
  reset_masters(kRccAhb4rstr, 1u << 21);                            // BDMA
  reg(kRccCr) = reg(kRccCr) | 1u;                                   // HSION
  wait_set(kRccCr, 1u << 2);                                        // HSIRDY
  set_bits(kRccCr, 3u << 3, 0);                                     // HSIDIV: 64 MHz
  set_bits(kRccCfgr, 7u, 0);                                        // SW = 0, SWS follows
  wait_for(kRccCfgr, 7u << 3, 0);
  reg(kRccCr) = reg(kRccCr) & ~(1u << 24);  // PLL1ON
  wait_for(kRccCr, 1u << 25, 0);
  reg(kRccCr) = reg(kRccCr) & ~(1u << 16);  // HSEON: HSEBYP may change only while it is off
  wait_for(kRccCr, 1u << 17, 0);
}

void core_supply_on() {
  // PWR_CR3: LDOEN and, of an H747, the SMPS step-down converter. Its lower byte can be written
  // once after power-on, and must be before VOS changes. Then PWR_CSR1.ACTVOSRDY.
  set_bits(kPwrCr3, 0x3Fu, tr_setting_supply);
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

// PLL1 at `megahertz` * 2 / 2 from the best source.
void pll_on(uint32_t megahertz) {
  if (tr_setting_hse_enable[0] != 0) pin_high(tr_setting_hse_enable);
  const bool external = external_clock_on(kRccCr);
  const uint32_t input = external && tr_setting_hse_hz == 25000000u ? 5u : 8u;  // MHz
  // RCC_PLLCKSELR: DIVM1, PLLSRC (0 HSI, 2 HSE)
  const uint32_t divide = external ? tr_setting_hse_hz / (input * 1000000u) : 8u;
  reg(kRccPllckselr) = (divide << 4) | (external ? 2u : 0u);
  // RCC_PLL1DIVR: DIVN1, DIVP1 = 2, DIVQ1 and DIVR1 = 8, each less one
  reg(kRccPll1divr) = (2u * megahertz / input - 1u) | (1u << 9) | (7u << 16) | (7u << 24);
  // RCC_PLLCFGR: DIVP1EN, PLL1RGE (2: 4 to 8 MHz, 3: 8 to 16 MHz), PLL1VCOSEL = 0 (wide), no
  // fraction
  reg(kRccPllcfgr) = (1u << 16) | ((input < 8u ? 2u : 3u) << 2);
  // RCC_CR: PLL1ON, PLL1RDY
  reg(kRccCr) = reg(kRccCr) | (1u << 24);
  wait_set(kRccCr, 1u << 25);
}

}  // namespace

Clocks clocks_on() {
  // 480 MHz needs VOS0, which only revision V has (DS12110, "General operating conditions").
  const uint32_t revision = reg(kDbgmcuIdcode) >> 16;
  const bool fast = revision == kRevisionV;
  // ES0392, "Reading from AXI SRAM may lead to data read corruption", revision Y and earlier: one
  // read at a time (READ_ISS_OVERRIDE). Nothing has read the AXI SRAM yet.
  if (revision < kRevisionX) reg(kAxiTarg7FnMod) = 1u;
  if (static_cast<const void*>(tr_image_start) !=
      reinterpret_cast<const void*>(static_cast<uintptr_t>(tr_board_flash_origin))) {
    undo_bootloader();
  }
  core_supply_on();
  if (fast) core_supply_boost();

  // VCO 960 or 800 MHz (DS12110, "PLL characteristics": to 960 MHz in VOS0, to 836 MHz else).
  const uint32_t megahertz = fast ? 480u : 400u;
  pll_on(megahertz);

  // FLASH_ACR: LATENCY and WRHIGHFREQ for AXI at 240 MHz in VOS0 or 200 MHz in VOS1 (RM0433,
  // FLASH, table "FLASH recommended number of wait states and programming delay"); read back.
  const uint32_t wait_states = fast ? 4u : 2u;
  reg(kFlashAcr) = (2u << 4) | wait_states;
  wait_for(kFlashAcr, 0xFu, wait_states);

  // RCC_D1CFGR: D1CPRE = 1, HPRE = 2, D1PPRE = 2. RCC_D2CFGR: D2PPRE1 = D2PPRE2 = 2.
  // RCC_D3CFGR: D3PPRE = 2. Core at full rate, AXI and AHB at half, APBs at a quarter.
  reg(kRccD1cfgr) = (0u << 8) | (4u << 4) | 8u;
  reg(kRccD2cfgr) = (4u << 8) | (4u << 4);
  reg(kRccD3cfgr) = 4u << 4;
  // RCC_CFGR: SW = 3 (PLL1), SWS follows.
  set_bits(kRccCfgr, 7u, 3u);
  wait_for(kRccCfgr, 7u << 3, 3u << 3);
  // RCC_D2CCIP2R: USART16SEL = USART234578SEL = 0, APB2 and APB1, which run at the same rate.
  reg(kRccD2ccip2r) = reg(kRccD2ccip2r) & ~0x3Fu;

  return {megahertz * 1000000u, megahertz * 250000u};
}

}  // namespace tr::stm32
