// The stand-in's main program: setup once, loop until the other end of the serial port is gone.
#include <Arduino.h>
#include <stdio.h>

HardwareSerial Serial;

namespace {

int waiting = -1;

int next() {
  if (waiting < 0) waiting = getchar();
  return waiting;
}

}  // namespace

size_t Print::print(const char* text) {
  size_t n = 0;
  while (*text != 0) n += write((uint8_t)*text++);
  return n;
}

size_t Print::print(unsigned long n) {
  char digits[24];
  snprintf(digits, sizeof digits, "%lu", n);
  return print(digits);
}

size_t Print::print(long n) {
  char digits[24];
  snprintf(digits, sizeof digits, "%ld", n);
  return print(digits);
}

size_t Stream::readBytes(char* to, size_t bytes) {
  size_t n = 0;
  for (; n < bytes; ++n) {
    const int c = read();
    if (c < 0) break;  // a real one waits for setTimeout()
    to[n] = (char)c;
  }
  return n;
}

size_t HardwareSerial::write(uint8_t c) { return putchar(c) < 0 ? 0 : 1; }
int HardwareSerial::available() { return next() < 0 ? 0 : 1; }
int HardwareSerial::peek() { return next(); }
int HardwareSerial::read() {
  const int c = next();
  waiting = -1;
  return c;
}

extern "C" void __cxa_pure_virtual() { abort(); }  // in place of the C++ library

int main() {
  setup();
  while (Serial.available() > 0) loop();
  fflush(stdout);
  return 0;
}
