// armv8m.cpp: the memory protection unit of Armv8-M. Register names are the sections of DDI0553
// (Armv8-M Architecture Reference Manual) that describe them; "PMSAv8" says that regions may not
// overlap, and that the default map holds outside of them for privileged code under PRIVDEFENA.
#include "armv8m.hpp"

#include "runtime/code_ram.hpp"
#include "tr_port.h"

namespace tr::armv8m {
namespace {

constexpr uint32_t kMpuCtrl = 0xE000ED94u;   // MPU Control Register, MPU_CTRL
constexpr uint32_t kMpuRnr = 0xE000ED98u;    // MPU Region Number Register, MPU_RNR
constexpr uint32_t kMpuRbar = 0xE000ED9Cu;   // MPU Region Base Address Register, MPU_RBAR
constexpr uint32_t kMpuRlar = 0xE000EDA0u;   // MPU Region Limit Address Register, MPU_RLAR
constexpr uint32_t kMpuMair0 = 0xE000EDC0u;  // MPU Memory Attribute Indirection Register 0

constexpr uint32_t kExecuteNever = 1u << 0;        // MPU_RBAR: XN
constexpr uint32_t kReadWrite = 0u << 1;           // MPU_RBAR: AP, privileged code only
constexpr uint32_t kReadOnly = 2u << 1;            // MPU_RBAR: AP, privileged code only
constexpr uint32_t kWriteThrough = 0xAAu;          // MAIR attribute 0: read-allocate, not transient
constexpr uint32_t kWriteBack = 0xFFu;             // MAIR attribute 1: read- and write-allocate
constexpr uint32_t kAttributeWriteBack = 1u << 1;  // MPU_RLAR: AttrIndx
constexpr uint32_t kEnable = 1u;
constexpr uint32_t kImageRegion = 0;
constexpr uint32_t kCodeRegion = 1;

uint32_t code_start;  // of executable RAM; 0 where code_end is 0: there is none
uint32_t code_end;

void find_code() {
  code_start = cortexm::address_of(tr_code_ram_start);
  code_end = cortexm::address_of(tr_code_ram_end);
  if (code_start == code_end) return;
  reg(kMpuRnr) = kCodeRegion;
  tr_port_code_writable(1);
  // The limit is the last 32 bytes of the region, up to its end.
  reg(kMpuRlar) = ((code_end - 1u) & ~31u) | kAttributeWriteBack | kEnable;
}

}  // namespace

void protect(uint32_t image_base, uint32_t image_log2_bytes) {
  mainline::faults_on();
  reg(kMpuMair0) = kWriteThrough | (kWriteBack << 8);
  reg(kMpuRnr) = kImageRegion;
  reg(kMpuRbar) = image_base | kReadOnly;
  reg(kMpuRlar) = (image_base + (1u << image_log2_bytes) - 32u) | kEnable;
  find_code();
  reg(kMpuCtrl) = (1u << 2) | kEnable;  // MPU_CTRL: PRIVDEFENA
  barrier();
}

}  // namespace tr::armv8m

extern "C" {

// Nothing else selects a region after start-up, so MPU_RNR still says kCodeRegion. code_ram.cpp has
// the barriers.
void tr_port_code_writable(int writable) {
  using namespace tr::armv8m;
  if (code_start == code_end) return;
  __asm volatile("dsb" ::: "memory");
  reg(kMpuRbar) = code_start | (writable != 0 ? kExecuteNever | kReadWrite : kReadOnly);
  __asm volatile("dsb\n\tisb" ::: "memory");
}

}  // extern "C"
