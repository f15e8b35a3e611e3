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

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  TR_OK = 0,
  TR_ARENA_TOO_SMALL = 1,
  TR_ARENA_MISALIGNED = 2,
  TR_NOT_READY = 3,
} tr_status;

/* One entry of the ordered call list: a kernel over fixed places in the arena. */
typedef struct {
  const char* name;   /* layer name, as in the Graph */
  const char* kernel; /* kernel id, as its folder in firmware/kernels */
  void (*run)(uint8_t* arena);
  uint32_t macs; /* dense multiply-accumulates */
  /* the tensor this step leaves behind, for traces: */
  uint32_t out_offset; /* bytes from the start of the arena */
  uint32_t out_count;  /* elements */
  uint8_t out_type;    /* 0 u8, 1 i8, 2 i16, 3 i32 */
} tr_step;

typedef struct {
  const char* name;
  uint8_t graph_sha256[32];
  uint16_t input_shape[3]; /* height, width, channels; uint8 */
  uint16_t classes;
  uint32_t input_bytes;
  uint32_t arena_bytes; /* activations and kernel scratch */
  uint32_t arena_align;
  uint32_t input_offset;   /* where the raw uint8 input lies in the arena */
  uint32_t scores_offset;  /* where the int32 scores lie in the arena */
  int8_t scores_frac_bits; /* score = integer * 2^-frac_bits */
  uint16_t step_count;
  const tr_step* steps;
} tr_model_t;

extern const tr_model_t tr_model;

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
