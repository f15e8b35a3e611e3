// uart.cpp: what of tr_port.h is the same on every MPS board.
#include "mps.hpp"
#include "tr_image.h"
#include "tr_port.h"

using namespace tr::mps;

extern "C" {

int tr_port_read(void) {
  if ((reg(kUartState) & kRxFull) == 0) return -1;
  return static_cast<int>(reg(kUartData) & 0xFFu);
}

void tr_port_write(const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) {
    while ((reg(kUartState) & kTxFull) != 0) {
    }
    reg(kUartData) = data[i];
  }
}

uint32_t tr_port_baud_max(void) { return tr_board_baud_max; }

int tr_port_set_baud(uint32_t baud) {
  if (baud < 1200u || baud > tr_board_baud_max) return 0;
  while ((reg(kUartState) & kTxFull) != 0) {
  }
  set_rate(baud);
  return 1;
}

// These ports are for QEMU; boards/mps*.yaml say so.
int tr_port_is_virtual(void) { return 1; }

const char* tr_port_board(void) { return tr_board_id; }

}  // extern "C"
