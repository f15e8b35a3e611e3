/* protocol.h: the device's side of the wire protocol. Bytes come from and go to tr_port.h, the
 * model is behind tinyrobust.h; PROTOCOL.md is the specification.
 */
#ifndef TR_PROTOCOL_H
#define TR_PROTOCOL_H

#include <stdint.h>

#include "tinyrobust.h"

#ifdef __cplusplus
extern "C" {
#endif

/* After tr_port_init, with what tr_init said; a model that is not ready is reported per request. */
void tr_protocol_init(tr_status model);

/* One received byte. Does the whole request, reply included, when the byte ends a frame. */
void tr_protocol_feed(uint8_t byte);

/* Call when there is nothing to read: returns to the old baud rate if the new one stays silent. */
void tr_protocol_idle(void);

#ifdef __cplusplus
}
#endif
#endif
