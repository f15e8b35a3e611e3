/* The only main(): the model, behind the protocol, on whatever the port is. */
#include "protocol.h"
#include "tinyrobust.h"
#include "tr_image.h"
#include "tr_port.h"

int main() {
  tr_port_init();
  tr_protocol_init(tr_init(tr_arena, tr_arena_bytes));
  for (;;) {
    const int byte = tr_port_read();
    if (byte >= 0) {
      tr_protocol_feed((uint8_t)byte);
    } else {
      tr_protocol_idle();
    }
  }
}
