// armv7m.cpp: the memory protection unit. Register names are the sections of DDI0403 (Armv7-M
// Architecture Reference Manual) that describe them.
#include "armv7m.hpp"

#include "runtime/code_ram.hpp"
#include "tr_port.h"

namespace tr::armv7m {
namespace {

constexpr uint32_t kMpuType = 0xE000ED90u;  // MPU Type Register, MPU_TYPE: DREGION
constexpr uint32_t kMpuCtrl = 0xE000ED94u;  // MPU Control Register, MPU_CTRL
constexpr uint32_t kMpuRnr = 0xE000ED98u;   // MPU Region Number Register, MPU_RNR
constexpr uint32_t kMpuRbar = 0xE000ED9Cu;  // MPU Region Base Address Register, MPU_RBAR
constexpr uint32_t kMpuRasr = 0xE000EDA0u;  // MPU Region Attribute and Size Register, MPU_RASR

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
  const uint32_t start = cortexm::address_of(tr_code_ram_start);
  const uint32_t end = cortexm::address_of(tr_code_ram_end);
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
  mainline::faults_on();
  // Regions that a bootloader has left on would stay so.
  reg(kMpuCtrl) = 0;
  const uint32_t regions = (reg(kMpuType) >> 8) & 0xFFu;
  for (uint32_t number = 0; number < regions; ++number) {
    reg(kMpuRnr) = number;
    reg(kMpuRasr) = 0;
  }
  // External memories (0x60000000 to 0xDFFFFFFF): the board has none, and without this a Cortex-M7
  // may read them speculatively, because the default map calls them normal memory (AN4838,
  // "Introduction to memory protection unit management on STM32 MCUs"). Of 4 Gbytes in eighths,
  // the first three and the last stay as they are.
  region(0, 0, 32, kExecuteNever | kNoAccess | (0x87u << 8));
  region(1, image_base, image_log2_bytes, kReadOnly | kWriteThrough);
  // Below the guard there is nothing: a frame that jumps over its 32 bytes faults too.
  region(2, cortexm::address_of(tr_stack_guard), 5, kExecuteNever | kNoAccess);
  find_code();
  reg(kMpuCtrl) = (1u << 2) | kEnable;  // MPU_CTRL: PRIVDEFENA, the default map elsewhere
  barrier();
}

}  // namespace tr::armv7m

extern "C" {

// Executable RAM can be written or executed, never both. Nothing else selects a region after
// start-up, so MPU_RNR still says kCodeRegion. code_ram.cpp has the barriers.
void tr_port_code_writable(int writable) {
  using namespace tr::armv7m;
  if (code_attributes == 0) return;
  __asm volatile("dsb" ::: "memory");
  reg(kMpuRasr) = code_attributes | (writable != 0 ? kExecuteNever | kReadWrite : kReadOnly);
  __asm volatile("dsb\n\tisb" ::: "memory");
}

}  // extern "C"
