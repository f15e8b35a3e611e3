#include "runtime/code_ram.hpp"

#include "runtime/dsp.hpp"

#if TR_DSP

namespace {

// DDI0403 B4.8 (CLIDR) and PM0253, "Cache maintenance operations"; a Cortex-M4 has none of them.
constexpr uint32_t kClidr = 0xE000ED78u;    // Cache Level ID Register: 0 without caches
constexpr uint32_t kIcimvau = 0xE000EF58u;  // instruction cache: invalidate by address
constexpr uint32_t kDccmvau = 0xE000EF64u;  // data cache: clean by address
constexpr uint32_t kLineBytes = 32;         // of both caches of a Cortex-M7

volatile uint32_t& reg(uint32_t address) {
  return *reinterpret_cast<volatile uint32_t*>(static_cast<uintptr_t>(address));
}

inline void dsb() { __asm volatile("dsb" ::: "memory"); }
inline void dsb_isb() { __asm volatile("dsb\n\tisb" ::: "memory"); }

void lines(uint32_t operation, uint32_t first, uint32_t end) {
  for (uint32_t line = first; line < end; line += kLineBytes) reg(operation) = line;
}

}  // namespace

extern "C" {

__attribute__((weak)) void tr_port_code_writable(int) {}

void tr_code_open(void) { tr_port_code_writable(1); }

void tr_code_close(const void* start, uint32_t bytes) {
  const auto first = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(start)) & ~(kLineBytes - 1);
  const auto end = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(start)) + bytes;
  // Tightly coupled memory is never cached: Armv7-M's code region below 0x00200000 on a Cortex-M7.
  if (first >= 0x00200000u && reg(kClidr) != 0) {
    dsb();
    lines(kDccmvau, first, end);
    dsb();
    lines(kIcimvau, first, end);
  }
  tr_port_code_writable(0);
  dsb_isb();
}

}  // extern "C"

#endif
