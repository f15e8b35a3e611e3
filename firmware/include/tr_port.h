/* tr_port.h: what a board must provide. firmware/ports/<family>/ implements it, app/ and protocol/
 * use it. Everything polls; no interrupt is needed. */
#ifndef TR_PORT_H
#define TR_PORT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Clock, caches, FPU, UART at 115200 8N1, cycle counter, stack guard. Called first in main(). */
void tr_port_init(void);

/* Next received byte, or -1 when there is none. */
int tr_port_read(void);
/* Send; returns when the bytes are handed to the UART. */
void tr_port_write(const uint8_t* data, uint32_t bytes);
/* Wait until everything sent has left the wire, then change the rate. 0 when it cannot. */
int tr_port_set_baud(uint32_t baud);
uint32_t tr_port_baud_max(void);

/* Free-running 32-bit counter of core cycles (of instructions on a virtual board). */
uint32_t tr_port_cycles(void);
uint32_t tr_port_clock_hz(void);
/* 1 on a virtual board, which says so in a way silicon cannot (see docs of each port). */
int tr_port_is_virtual(void);

/* The programmed image in flash, padded to the flash word, as the .bin file holds it. */
const uint8_t* tr_port_image(void);
uint32_t tr_port_image_bytes(void);

/* Stack limits; the start-up code paints the stack with TR_STACK_PAINT. */
#define TR_STACK_PAINT 0xC5C5C5C5u
const uint32_t* tr_port_stack_low(void);
const uint32_t* tr_port_stack_high(void);

const char* tr_port_board(void);

/* System reset; does not return. */
void tr_port_reset(void);

#ifdef __cplusplus
}
#endif
#endif
