/* tinyrobust.h: the model behind a C interface.
 *
 * One image holds one model. The generated source defines tr_model and the step functions; the
 * runtime (firmware/runtime) drives them. No heap, no global state but the arena that the caller
 * gives to tr_init, so the same sources drop into any firmware project.
 */
#ifndef TINYROBUST_H
#define TINYROBUST_H

#include <stddef.h>
#include <stdint.h>

#include "tr_model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  TR_OK = 0,
  TR_ARENA_TOO_SMALL = 1,
  TR_ARENA_MISALIGNED = 2,
  TR_NOT_READY = 3,
} tr_status;

/* Give the model its memory, and its states their first values. Checks size and alignment once; the
 * run path trusts. */
tr_status tr_init(uint8_t* arena, size_t bytes);

/* Where a tensor of tr_model.inputs, outputs or states lies; null before tr_init. Inputs are
 * written before tr_invoke, which may overwrite them; outputs are there until the next input is
 * written. */
uint8_t* tr_at(const tr_tensor* tensor);

/* Called after each step when not null; `step` counts from 0. */
typedef void (*tr_step_hook)(void* user, uint16_t step, const tr_step* info, const uint8_t* arena);

/* Run the network once. */
tr_status tr_invoke(tr_step_hook hook, void* user);

/* Give every state its first value again; what tr_init does. */
tr_status tr_reset_state(void);

/* Bytes of an element of type 0 u8, 1 i8, 2 i16, 3 i32. */
uint32_t tr_element_bytes(uint8_t type);

#ifdef __cplusplus
}
#endif
#endif
