// armv6m.cpp: MPU and SysTick. Register names are the sections of DDI0419 (Armv6-M Architecture
// Reference Manual) that describe them.
#include "armv6m.hpp"

namespace tr::armv6m {
namespace {

constexpr uint32_t kSystCsr = 0xE000E010u;  // SysTick Control and Status Register, SYST_CSR
constexpr uint32_t kSystRvr = 0xE000E014u;  // SysTick Reload Value Register, SYST_RVR
constexpr uint32_t kSystCvr = 0xE000E018u;  // SysTick Current Value Register, SYST_CVR
constexpr uint32_t kMpuType = 0xE000ED90u;  // MPU Type Register, MPU_TYPE
constexpr uint32_t kMpuCtrl = 0xE000ED94u;  // MPU Control Register, MPU_CTRL
constexpr uint32_t kMpuRnr = 0xE000ED98u;   // MPU Region Number Register, MPU_RNR
constexpr uint32_t kMpuRbar = 0xE000ED9Cu;  // MPU Region Base Address Register, MPU_RBAR
constexpr uint32_t kMpuRasr = 0xE000EDA0u;  // MPU Region Attribute and Size Register, MPU_RASR

constexpr uint32_t kExecuteNever = 1u << 28;
constexpr uint32_t kNoAccess = 0u << 24;
constexpr uint32_t kReadOnly = 6u << 24;
constexpr uint32_t kWriteThrough = 2u << 16;  // C 1, B 0
constexpr uint32_t kEnable = 1u;
constexpr uint32_t kGuardLog2Bytes = 8;  // the smallest region

void region(uint32_t number, uint32_t base, uint32_t log2_bytes, uint32_t attributes) {
  reg(kMpuRnr) = number;
  reg(kMpuRbar) = base;
  reg(kMpuRasr) = attributes | ((log2_bytes - 1u) << 1) | kEnable;
}

}  // namespace

bool protect(uint32_t image_base, uint32_t image_log2_bytes) {
  const uint32_t regions = (reg(kMpuType) >> 8) & 0xFFu;  // MPU_TYPE: DREGION
  if (regions == 0) return false;
  // Regions that a bootloader has left on would stay so.
  reg(kMpuCtrl) = 0;
  for (uint32_t number = 0; number < regions; ++number) {
    reg(kMpuRnr) = number;
    reg(kMpuRasr) = 0;
  }
  region(0, image_base, image_log2_bytes, kReadOnly | kWriteThrough);
  // Below the guard there is nothing: a frame that jumps over it faults too.
  const uint32_t guard = cortexm::address_of(tr_stack_guard);
  region(1, guard, kGuardLog2Bytes, kExecuteNever | kNoAccess);
  reg(kMpuCtrl) = (1u << 2) | kEnable;  // MPU_CTRL: PRIVDEFENA, the default map elsewhere
  barrier();
  return true;
}

void systick_on() {
  reg(kSystCsr) = 0;
  reg(kSystRvr) = 0xFFFFFFu;
  reg(kSystCvr) = 0;                    // any write clears it; the first cycle reloads
  reg(kSystCsr) = (1u << 2) | kEnable;  // SYST_CSR: CLKSOURCE (the core's clock), no interrupt
}

}  // namespace tr::armv6m
