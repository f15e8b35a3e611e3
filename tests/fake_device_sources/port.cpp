/* tr_port.h for tests: standard input and output, and a report of every change of the baud rate
 * between its frames, so that a test can garble what is sent at the wrong one. TR_TEST_REAL makes
 * it call itself a real board, which is deaf while it computes. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tr_image.h"
#include "tr_port.h"

static uint8_t pending[65536];
static ssize_t pending_bytes;
static ssize_t pending_at;
static uint32_t stack[64];
static const uint8_t kImage[100] = {1, 2, 3};

extern "C" {

void tr_port_init(void) {
  for (uint32_t i = 0; i < 64; ++i) stack[i] = i < 40 ? TR_STACK_PAINT : i;
}

int tr_port_read(void) {
  if (pending_at < pending_bytes) return pending[pending_at++];
  pollfd wait = {0, POLLIN, 0};
  if (poll(&wait, 1, 20) <= 0) return -1;
  pending_bytes = read(0, pending, sizeof pending);
  pending_at = 0;
  if (pending_bytes <= 0) exit(0);
  return pending[pending_at++];
}

void tr_port_write(const uint8_t* data, uint32_t bytes) {
  while (bytes > 0) {
    const ssize_t sent = write(1, data, bytes);
    if (sent < 0 && errno != EINTR) exit(0);
    if (sent > 0) {
      data += sent;
      bytes -= (uint32_t)sent;
    }
  }
}

int tr_port_set_baud(uint32_t baud) {
  char report[] = "\0BAUD0000000000";
  for (int at = 14; at > 4; --at, baud /= 10) report[at] = (char)('0' + baud % 10);
  tr_port_write((const uint8_t*)report, sizeof report);
  return 1;
}

uint32_t tr_port_baud_max(void) { return tr_board_baud_max; }

uint32_t tr_port_cycles(void) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)(now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

uint32_t tr_port_clock_hz(void) { return 1000000; }
int tr_port_is_virtual(void) { return getenv("TR_TEST_REAL") == nullptr; }
const uint8_t* tr_port_image(void) { return kImage; }
uint32_t tr_port_image_bytes(void) { return sizeof kImage; }
const uint32_t* tr_port_stack_low(void) { return stack; }
const uint32_t* tr_port_stack_high(void) { return stack + 64; }
const char* tr_port_board(void) { return tr_board_id; }

void tr_port_reset(void) {
  const char* const name = "fake-device";
  tr_port_set_baud(115200);
  execl("/proc/self/exe", name, nullptr);
  _exit(3);
}
}
