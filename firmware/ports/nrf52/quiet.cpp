// quiet.cpp: Arduino's bootloader jumps to the image, it does not reset the chip. What it was seen
// to leave: USB attached, RTC1's COMPARE0 interrupt enabled, pins owned by the trace port
// (ArduinoCore-nRF528x-mbedos, variants/ARDUINO_NANO33BLE/variant.cpp, initVariant, which undoes
// the last two), the MPU on with RAM execute-never (ArduinoCore-zephyr, loader/fixups.c,
// disable_bootloader_mpu; start-up has switched it off by now, armv7m::protect clears its regions).
// Another one may leave more, so all that could interrupt, drive a pin or write to RAM is stopped.
// PS is the nRF52840 Product Specification v1.7; DDI0403 the Armv7-M Architecture Reference Manual.
#include "quiet.hpp"

#include "armv7m.hpp"

namespace tr::nrf52 {
namespace {

using armv7m::reg;

// DDI0403, "SysTick Control and Status Register" and "NVIC register descriptions"
constexpr uint32_t kSystick = 0xE000E010u;
constexpr uint32_t kIcer0 = 0xE000E180u;
constexpr uint32_t kIcpr0 = 0xE000E280u;
// PS, "CLOCK": TRACECONFIG
constexpr uint32_t kTraceconfig = 0x4000055Cu;
// PS, "Instantiation": TIMER0-4 and RTC0-2
constexpr uint32_t kTimers[] = {0x40008000u, 0x40009000u, 0x4000A000u, 0x4001A000u, 0x4001B000u};
constexpr uint32_t kRtcs[] = {0x4000B000u, 0x40011000u, 0x40024000u};
constexpr uint32_t kTimerStop = 0x04u;
constexpr uint32_t kRtcStop = 0x04u;
constexpr uint32_t kIntenclr = 0x308u;
constexpr uint32_t kRtcEvtenclr = 0x348u;
// PS, "Instantiation": peripherals with EasyDMA that share one ENABLE register per id: UARTE0,
// SPIM0/TWIM0, SPIM1/TWIM1, SPIM2, UARTE1, SPIM3. All have ENABLE at 0x500.
constexpr uint32_t kSerials[] = {0x40002000u, 0x40003000u, 0x40004000u,
                                 0x40023000u, 0x40028000u, 0x4002F000u};
constexpr uint32_t kSerialEnable = 0x500u;
// PS, "PPI - Programmable peripheral interconnect"
constexpr uint32_t kPpiChenclr = 0x4001F508u;
// PS, "USBD - Universal serial bus device"
constexpr uint32_t kUsbdEnable = 0x40027500u;
constexpr uint32_t kUsbdPullup = 0x40027504u;
// PS, "WDT - Watchdog timer"
constexpr uint32_t kWdtRunstatus = 0x40010400u;
constexpr uint32_t kWdtRren = 0x40010508u;
constexpr uint32_t kWdtRr0 = 0x40010600u;
constexpr uint32_t kWdtReload = 0x6E524635u;

}  // namespace

void quiet() {
  reg(kSystick) = 0;
  for (uint32_t i = 0; i < 8u; i += 4u) {  // 48 interrupts (PS, "Interrupt controller")
    reg(kIcer0 + i) = 0xFFFFFFFFu;
    reg(kIcpr0 + i) = 0xFFFFFFFFu;
  }
  reg(kPpiChenclr) = 0xFFFFFFFFu;
  for (const uint32_t timer : kTimers) {
    reg(timer + kTimerStop) = 1u;
    reg(timer + kIntenclr) = 0xFFFFFFFFu;
  }
  for (const uint32_t rtc : kRtcs) {
    reg(rtc + kRtcStop) = 1u;
    reg(rtc + kIntenclr) = 0xFFFFFFFFu;
    reg(rtc + kRtcEvtenclr) = 0xFFFFFFFFu;
  }
  for (const uint32_t serial : kSerials) reg(serial + kSerialEnable) = 0;
  reg(kUsbdPullup) = 0;  // the host sees the device go
  reg(kUsbdEnable) = 0;
  reg(kTraceconfig) = 0;
  feed_watchdog();
}

void feed_watchdog() {
  if ((reg(kWdtRunstatus) & 1u) == 0) return;
  const uint32_t enabled = reg(kWdtRren);
  for (uint32_t i = 0; i < 8u; ++i) {
    if ((enabled >> i & 1u) != 0) reg(kWdtRr0 + 4u * i) = kWdtReload;
  }
}

}  // namespace tr::nrf52
