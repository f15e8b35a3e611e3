// stm32.cpp: pins and the external clock, the same on every STM32 family here. Reference manuals,
// "General-purpose I/Os (GPIO)" and "Reset and clock control (RCC)".
#include "stm32.hpp"

#include "family.hpp"

namespace tr::stm32 {
namespace {

constexpr uint32_t kModer = 0x00u;
constexpr uint32_t kOspeedr = 0x08u;
constexpr uint32_t kPupdr = 0x0Cu;
constexpr uint32_t kBsrr = 0x18u;
constexpr uint32_t kAfrl = 0x20u;  // and GPIOx_AFRH behind it
constexpr uint32_t kPortBytes = 0x400u;

// The ST-LINK's clock is there at once or not at all; an oscillator that has just been switched on
// takes up to some milliseconds. At 64 MHz this is about six, at 16 MHz four times as long.
constexpr uint32_t kHseTries = 60000u;

struct Pin {
  uint32_t gpio;
  uint32_t number;
};

// "PD8": port D, pin 8.
Pin pin_on(const char* name) {
  const auto port = static_cast<uint32_t>(name[1] - 'A');
  uint32_t number = 0;
  for (const char* digit = name + 2; *digit != 0; ++digit) {
    number = number * 10u + static_cast<uint32_t>(*digit - '0');
  }
  reg(family::kGpioEnable) = reg(family::kGpioEnable) | (1u << port);
  [[maybe_unused]] const uint32_t running = reg(family::kGpioEnable);  // waits until it runs
  return {family::kGpio + kPortBytes * port, number};
}

void two_bits(uint32_t address, uint32_t number, uint32_t value) {
  set_bits(address, 3u << (2u * number), value << (2u * number));
}

}  // namespace

bool external_clock_on(uint32_t rcc_cr) {
  // HSEBYP may change only while HSE is off; then HSEON; HSERDY follows when OSC_IN has a clock.
  reg(rcc_cr) = reg(rcc_cr) | (1u << 18);
  reg(rcc_cr) = reg(rcc_cr) | (1u << 16);
  for (uint32_t i = 0; i < kHseTries; ++i) {
    if ((reg(rcc_cr) & (1u << 17)) != 0) return true;
  }
  reg(rcc_cr) = reg(rcc_cr) & ~(1u << 16);
  return false;
}

void pin_alternate(const char* name, uint32_t number) {
  const Pin pin = pin_on(name);
  const uint32_t shift = 4u * (pin.number & 7u);
  set_bits(pin.gpio + kAfrl + 4u * (pin.number >> 3), 0xFu << shift, number << shift);
  two_bits(pin.gpio + kOspeedr, pin.number, 1u);
  two_bits(pin.gpio + kPupdr, pin.number, 1u);
  two_bits(pin.gpio + kModer, pin.number, 2u);
}

void pin_high(const char* name) {
  const Pin pin = pin_on(name);
  reg(pin.gpio + kBsrr) = 1u << pin.number;
  two_bits(pin.gpio + kModer, pin.number, 1u);
}

}  // namespace tr::stm32
