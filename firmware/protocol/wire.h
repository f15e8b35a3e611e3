/* wire.h: every constant of the wire protocol (PROTOCOL.md beside this file explains them).
 *
 * toolchain/tinyrobust/device/wire.py holds the same names without the TR_WIRE_ prefix; a test
 * reads this file and compares. Only plain `#define NAME number` lines here.
 */
#ifndef TR_WIRE_H
#define TR_WIRE_H

#define TR_WIRE_VERSION 2

/* Frame: header, payload, CRC-32; COBS-encoded between zero bytes. */
#define TR_WIRE_HEADER_BYTES 10
#define TR_WIRE_CRC_BYTES 4
#define TR_WIRE_MAX_PAYLOAD 1040
#define TR_WIRE_CHUNK_BYTES 1024

#define TR_WIRE_BAUD_BASE 115200
#define TR_WIRE_MAX_STEPS 128
#define TR_WIRE_MAX_NAME 64
/* A new baud rate must be confirmed within this time, or the device returns to the old one. */
#define TR_WIRE_BAUD_CONFIRM_MS 1000
/* What a virtual board's host may send ahead while the device computes. */
#define TR_WIRE_VIRTUAL_WINDOW_BYTES 16384

/* Requests. A reply has the request's type with bit 7 set. */
#define TR_WIRE_HELLO 0x01
#define TR_WIRE_PING 0x02
#define TR_WIRE_PUT 0x10
#define TR_WIRE_INFER 0x11
#define TR_WIRE_TRACE 0x12
#define TR_WIRE_GET 0x13
#define TR_WIRE_RESET_STATE 0x14
#define TR_WIRE_STEPS 0x20
#define TR_WIRE_LAYER_CYCLES 0x21
#define TR_WIRE_MEMORY 0x22
#define TR_WIRE_IMAGE_HASH 0x23
#define TR_WIRE_LINK_STATS 0x24
#define TR_WIRE_TENSORS 0x25
#define TR_WIRE_SET_BAUD 0x30
#define TR_WIRE_RESET 0x31

#define TR_WIRE_REPLY 0x80
/* Pieces of a tensor that precede the reply to TRACE. */
#define TR_WIRE_TRACE_DATA 0xC0
#define TR_WIRE_ERROR 0xFF

/* What GET reads and TENSORS lists. */
#define TR_WIRE_INPUTS 0
#define TR_WIRE_OUTPUTS 1
#define TR_WIRE_STATES 2

/* Error codes. */
#define TR_WIRE_E_VERSION 1
#define TR_WIRE_E_COMMAND 2
#define TR_WIRE_E_LENGTH 3
#define TR_WIRE_E_VALUE 4
#define TR_WIRE_E_SESSION 5
#define TR_WIRE_E_INCOMPLETE 6
#define TR_WIRE_E_IMAGE_CRC 7
#define TR_WIRE_E_MODEL 8
#define TR_WIRE_E_UNSUPPORTED 9
#define TR_WIRE_E_NOT_READY 10

/* Flags in the reply to HELLO. */
#define TR_WIRE_FLAG_VIRTUAL 1

#endif
