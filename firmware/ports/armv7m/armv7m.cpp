// armv7m.cpp: the core's own registers: faults, MPU, caches, cycle counter, reset. Register names
// are the sections of DDI0403 (Armv7-M Architecture Reference Manual) that describe them.
#include "armv7m.hpp"

#include "runtime/code_ram.hpp"
#include "tr_port.h"

extern "C" {
extern uint32_t tr_stack_guard[];  // made by the linker script, aligned to its 32 bytes
extern uint32_t tr_stack_low[];
extern uint32_t tr_stack_high[];
extern uint32_t tr_code_ram_start[];  // executable RAM, at the start of a region of its own
extern uint32_t tr_code_ram_end[];
extern const uint8_t tr_image_start[];
extern const uint8_t tr_image_end[];
}

namespace tr::armv7m {
namespace {

constexpr uint32_t kCcr = 0xE000ED14u;      // Configuration and Control Register, CCR
constexpr uint32_t kShcsr = 0xE000ED24u;    // System Handler Control and State Register, SHCSR
constexpr uint32_t kAircr = 0xE000ED0Cu;    // Application Interrupt and Reset Control, AIRCR
constexpr uint32_t kCcsidr = 0xE000ED80u;   // Cache Size ID Registers, CCSIDR
constexpr uint32_t kCsselr = 0xE000ED84u;   // Cache Size Selection Register, CSSELR
constexpr uint32_t kMpuCtrl = 0xE000ED94u;  // MPU Control Register, MPU_CTRL
constexpr uint32_t kMpuRnr = 0xE000ED98u;   // MPU Region Number Register, MPU_RNR
constexpr uint32_t kMpuRbar = 0xE000ED9Cu;  // MPU Region Base Address Register, MPU_RBAR
constexpr uint32_t kMpuRasr = 0xE000EDA0u;  // MPU Region Attribute and Size Register, MPU_RASR
constexpr uint32_t kDemcr = 0xE000EDFCu;    // Debug Exception and Monitor Control, DEMCR
constexpr uint32_t kIciallu = 0xE000EF50u;  // Cache and branch predictor operations, ICIALLU
constexpr uint32_t kDcisw = 0xE000EF60u;    // Cache and branch predictor operations, DCISW
constexpr uint32_t kDwtCtrl = 0xE0001000u;  // DWT Control register, DWT_CTRL
constexpr uint32_t kDwtCyccnt = 0xE0001004u;
constexpr uint32_t kDwtLar = 0xE0001FB0u;  // CoreSight Lock Access Register (PM0253: on the M7)

constexpr uint32_t kExecuteNever = 1u << 28;
constexpr uint32_t kNoAccess = 0u << 24;
constexpr uint32_t kReadOnly = 6u << 24;
constexpr uint32_t kReadWrite = 3u << 24;
constexpr uint32_t kWriteThrough = 2u << 16;          // TEX 0, C 1, B 0
constexpr uint32_t kWriteBack = 1u << 19 | 3u << 16;  // TEX 1, C 1, B 1: as the default map
constexpr uint32_t kEnable = 1u;
constexpr uint32_t kCodeRegion = 3;

uint32_t code_attributes;  // size, address eighths left out and memory type; 0: there is no code

// The region that holds executable RAM: the smallest power of two, less the eighths beyond the end.
void find_code() {
  const auto start = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(tr_code_ram_start));
  const auto end = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(tr_code_ram_end));
  if (start == end) return;
  uint32_t log2_bytes = 8;
  while ((1u << log2_bytes) < end - start) ++log2_bytes;
  const uint32_t eighth = 1u << (log2_bytes - 3u);
  const uint32_t used = (end - start + eighth - 1u) / eighth;
  code_attributes = kWriteBack | ((0xFF00u << used) & 0xFF00u) | ((log2_bytes - 1u) << 1) | kEnable;
  reg(kMpuRnr) = kCodeRegion;
  reg(kMpuRbar) = start;
  tr_port_code_writable(1);
}

void region(uint32_t number, uint32_t base, uint32_t log2_bytes, uint32_t attributes) {
  reg(kMpuRnr) = number;
  reg(kMpuRbar) = base;
  reg(kMpuRasr) = attributes | ((log2_bytes - 1u) << 1) | kEnable;
}

}  // namespace

void protect(uint32_t image_base, uint32_t image_log2_bytes) {
  reg(kShcsr) = reg(kShcsr) | (7u << 16);  // SHCSR: MEMFAULTENA, BUSFAULTENA, USGFAULTENA
  reg(kCcr) = reg(kCcr) | (1u << 4);       // CCR: DIV_0_TRP
  // External memories (0x60000000 to 0xDFFFFFFF): the board has none, and without this a Cortex-M7
  // may read them speculatively, because the default map calls them normal memory (AN4838,
  // "Introduction to memory protection unit management on STM32 MCUs"). Of 4 Gbytes in eighths,
  // the first three and the last stay as they are.
  region(0, 0, 32, kExecuteNever | kNoAccess | (0x87u << 8));
  region(1, image_base, image_log2_bytes, kReadOnly | kWriteThrough);
  // Below the guard there is nothing: a frame that jumps over its 32 bytes faults too.
  const auto guard = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(tr_stack_guard));
  region(2, guard, 5, kExecuteNever | kNoAccess);
  find_code();
  reg(kMpuCtrl) = (1u << 2) | kEnable;  // MPU_CTRL: PRIVDEFENA, the default map elsewhere
  barrier();
}

void caches_on() {
  // Instruction cache: invalidate, then CCR.IC. Data cache: invalidate every line of level 1 by
  // set and way (its content is unknown after reset), then CCR.DC.
  barrier();
  reg(kIciallu) = 0;
  barrier();
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

void system_reset() {
  barrier();
  reg(kAircr) = (0x05FAu << 16) | (1u << 2);  // AIRCR: VECTKEY, SYSRESETREQ
  barrier();
  for (;;) {
  }
}

}  // namespace tr::armv7m

extern "C" {

const uint8_t* tr_port_image(void) { return tr_image_start; }

uint32_t tr_port_image_bytes(void) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(tr_image_end) -
                               reinterpret_cast<uintptr_t>(tr_image_start));
}

const uint32_t* tr_port_stack_low(void) { return tr_stack_low; }
const uint32_t* tr_port_stack_high(void) { return tr_stack_high; }

// Executable RAM can be written or executed, never both. Nothing else selects a region after
// start-up, so MPU_RNR still says kCodeRegion. code_ram.cpp has the barriers.
void tr_port_code_writable(int writable) {
  using namespace tr::armv7m;
  if (code_attributes == 0) return;
  __asm volatile("dsb" ::: "memory");
  reg(kMpuRasr) = code_attributes | (writable != 0 ? kExecuteNever | kReadWrite : kReadOnly);
  __asm volatile("dsb\n\tisb" ::: "memory");
}

void tr_port_reset(void) { tr::armv7m::system_reset(); }

}  // extern "C"
