// port.cpp: tr_port.h on Arm's MPS3 with the AN547 image as QEMU models it (hw/arm/mps2-tz.c). The
// core boots Secure and stays so; every address is the Secure alias (AN547, "Memory map").
#include "armv8m.hpp"
#include "mps.hpp"
#include "tr_port.h"

namespace {

using tr::armv8m::reg;

// AN547, "FPGA system control and I/O": counts up, 32 bits, once every PRESCALE + 1 cycles
constexpr uint32_t kFpgaio = 0x59302000u;
constexpr uint32_t kCounter = kFpgaio + 0x18u;
constexpr uint32_t kPrescale = kFpgaio + 0x1Cu;
// DDI0553, "CLIDR, Cache Level ID Register": QEMU's Cortex-M55 has no caches
constexpr uint32_t kClidr = 0xE000ED78u;

constexpr uint32_t kCounterHz = 20000000u;  // QEMU, hw/misc/mps2-fpgaio.c: prescale-clk
constexpr uint32_t kImageBase = 0x10000000u;
constexpr uint32_t kImageLog2Bytes = 19u;  // the instruction TCM, which stands for flash

}  // namespace

extern "C" {

void tr_port_init(void) {
  tr::armv8m::protect(kImageBase, kImageLog2Bytes);
  if (reg(kClidr) != 0) tr::armv8m::caches_on();
  reg(kPrescale) = 0;
  tr::mps::set_rate(115200u);
}

uint32_t tr_port_cycles(void) { return reg(kCounter); }
uint32_t tr_port_clock_hz(void) { return kCounterHz; }

}  // extern "C"
