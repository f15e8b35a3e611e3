/* A stand-in for an Arduino core: what a sketch may use, over standard input and output, with the
 * macros that every real Arduino.h puts in everyone's way. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HIGH 0x1
#define LOW 0x0
#define INPUT 0x0
#define OUTPUT 0x1
#define INPUT_PULLUP 0x2
#define PI 3.1415926535897932384626433832795
#define DEFAULT 1
#define EXTERNAL 0
#define CHANGE 2
#define F(text) (text)
#define bit(b) (1UL << (b))
#define lowByte(w) ((uint8_t)((w)&0xff))
#define highByte(w) ((uint8_t)((w) >> 8))
#define bitRead(value, n) (((value) >> (n)) & 0x01)
#define sq(x) ((x) * (x))
#define constrain(x, low, high) ((x) < (low) ? (low) : ((x) > (high) ? (high) : (x)))
#define radians(degrees) ((degrees)*0.01745)
#define degrees(radians) ((radians)*57.29577)
#ifndef NO_MACRO_FUNCTIONS
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define abs(x) ((x) > 0 ? (x) : -(x))
#define round(x) ((x) >= 0 ? (long)((x) + 0.5) : (long)((x)-0.5))
#endif
#define B0 0
#define B1 1
#define B00 0
#define B01 1
#define B10 2
#define B11 3

#ifdef __cplusplus
typedef bool boolean;
typedef uint8_t byte;
typedef unsigned int word;

class Print {
 public:
  virtual size_t write(uint8_t c) = 0;
  size_t print(const char* text);
  size_t print(char c) { return write((uint8_t)c); }
  size_t print(int n) { return print((long)n); }
  size_t print(unsigned int n) { return print((unsigned long)n); }
  size_t print(long n);
  size_t print(unsigned long n);
  size_t println() { return write('\r') + write('\n'); }
  size_t println(const char* text) { return print(text) + println(); }
  size_t println(long n) { return print(n) + println(); }
};

class Stream : public Print {
 public:
  virtual int available() = 0;
  virtual int read() = 0;
  virtual int peek() = 0;
  void setTimeout(unsigned long ms) { timeout_ = ms; }
  size_t readBytes(char* to, size_t bytes);
  size_t readBytes(uint8_t* to, size_t bytes) { return readBytes((char*)to, bytes); }

 protected:
  unsigned long timeout_ = 1000;
};

class HardwareSerial : public Stream {
 public:
  void begin(unsigned long) {}
  explicit operator bool() { return true; }
  size_t write(uint8_t c) override;
  int available() override;
  int read() override;
  int peek() override;
};

extern HardwareSerial Serial;

void setup();
void loop();
#endif
#endif
