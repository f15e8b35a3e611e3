// clock.cpp: the highest core clock of a SAM3X8E. DS11057 is the data sheet (Atmel-11057, SAM3X /
// SAM3A Series); each register below has a section of its own in the chapter named beside it.
#include "clock.hpp"

#include "armv7m.hpp"

namespace tr::sam3x {
namespace {

using armv7m::reg;

// DS11057, "Watchdog Timer (WDT)"
constexpr uint32_t kWdtMr = 0x400E1A54u;
// DS11057, "Enhanced Embedded Flash Controller (EEFC)": one for each bank
constexpr uint32_t kEefc0Fmr = 0x400E0A00u;
constexpr uint32_t kEefc1Fmr = 0x400E0C00u;
// DS11057, "Power Management Controller (PMC)"
constexpr uint32_t kPmc = 0x400E0600u;
constexpr uint32_t kMor = kPmc + 0x20u;
constexpr uint32_t kPllar = kPmc + 0x28u;
constexpr uint32_t kMckr = kPmc + 0x30u;
constexpr uint32_t kSr = kPmc + 0x68u;

constexpr uint32_t kMorKey = 0x37u << 16;
constexpr uint32_t kCrystalOn = 1u << 0;              // CKGR_MOR: MOSCXTEN
constexpr uint32_t kRcOn = 1u << 3;                   // CKGR_MOR: MOSCRCEN, which runs until then
constexpr uint32_t kStartUp = 8u << 8;                // CKGR_MOR: MOSCXTST, 2 ms of slow clock
constexpr uint32_t kCrystalSelected = 1u << 24;       // CKGR_MOR: MOSCSEL
constexpr uint32_t kMainClock = 1u, kPllaClock = 2u;  // PMC_MCKR: CSS
constexpr uint32_t kHalf = 1u << 4;                   // PMC_MCKR: PRES
constexpr uint32_t kCrystalStable = 1u << 0;          // PMC_SR: MOSCXTS
constexpr uint32_t kPllaLocked = 1u << 1;             // PMC_SR: LOCKA
constexpr uint32_t kMasterReady = 1u << 3;            // PMC_SR: MCKRDY
constexpr uint32_t kSelectionDone = 1u << 16;         // PMC_SR: MOSCSELS

void wait_set(uint32_t bits) {
  while ((reg(kSr) & bits) != bits) {
  }
}

}  // namespace

void clocks_on() {
  // It runs after reset and would reset the chip after 16 seconds. WDT_MR can be written once.
  reg(kWdtMr) = 1u << 15;  // WDDIS

  // EEFC_FMR: FWS = 4 (DS11057, "Embedded Flash Characteristics": up to 84 MHz at 1.8 V), reads of
  // 128 bits.
  reg(kEefc0Fmr) = 4u << 8;
  reg(kEefc1Fmr) = 4u << 8;

  // DS11057, PMC, "Programming Sequence". The board's crystal has 12 MHz.
  reg(kMor) = kMorKey | kStartUp | kRcOn | kCrystalOn;
  wait_set(kCrystalStable);
  reg(kMor) = kMorKey | kStartUp | kRcOn | kCrystalOn | kCrystalSelected;
  wait_set(kSelectionDone);
  // Off the PLL, which runs already after a reset of the processor only.
  reg(kMckr) = (reg(kMckr) & ~3u) | kMainClock;
  wait_set(kMasterReady);
  // CKGR_PLLAR: bit 29 must be 1; MULA + 1 = 14, DIVA = 1: 168 MHz.
  reg(kPllar) = (1u << 29) | (13u << 16) | (0x3Fu << 8) | 1u;
  wait_set(kPllaLocked);
  // PMC_MCKR: the prescaler first, then the source.
  reg(kMckr) = kHalf | kMainClock;
  wait_set(kMasterReady);
  reg(kMckr) = kHalf | kPllaClock;
  wait_set(kMasterReady);
}

}  // namespace tr::sam3x
