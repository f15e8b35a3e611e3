/* tr_model.h: what generated code says of a model: its call list and where its data lies. */
#ifndef TR_MODEL_H
#define TR_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

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

#ifdef __cplusplus
}
#endif
#endif
