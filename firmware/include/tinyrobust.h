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

/* Give the model its memory. Checks size and alignment once; the run path trusts. */
tr_status tr_init(uint8_t* arena, size_t bytes);

/* Where to write the input (input_bytes) before tr_invoke; it may be overwritten by tr_invoke. */
uint8_t* tr_input(void);

/* Called after each step when not null; `step` counts from 0. */
typedef void (*tr_step_hook)(void* user, uint16_t step, const tr_step* info, const uint8_t* arena);

/* Run the network once. */
tr_status tr_invoke(tr_step_hook hook, void* user);

/* `classes` int32 scores of the last tr_invoke, and the index of the largest (first wins). */
const int32_t* tr_scores(void);
uint16_t tr_argmax(const int32_t* scores, uint16_t count);

#ifdef __cplusplus
}
#endif
#endif
