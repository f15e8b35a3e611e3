/* A program that stands for the host build: standard input and output are its serial port. */
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
  uint8_t byte;
  while (read(0, &byte, 1) == 1) {
    if (byte == 'F') abort();
    if (byte == 'X') {
      if (write(2, "no more wishes\n", 15) < 0) return 4;
      return 3;
    }
    const uint8_t answer = byte == 'n' ? 'k' : (uint8_t)(byte + 1);
    if (write(1, &answer, 1) != 1) return 1;
  }
  return 0;
}
