/* The stand-in's console; the program ends where a board would wait for ever. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/sys/printk.h>

const struct device console_uart = {"console"};

int uart_poll_in(const struct device* device, unsigned char* c) {
  const int got = getchar();
  (void)device;
  if (got < 0) exit(0);
  *c = (unsigned char)got;
  return 0;
}

void printk(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
}
