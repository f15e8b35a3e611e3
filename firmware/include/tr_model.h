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

/* A named tensor that comes in, goes out or stays: where it lies in the arena and what it means. */
typedef struct {
  const char* name;
  uint32_t offset;    /* bytes from the start of the arena */
  uint32_t count;     /* elements, dense, the last axis fastest */
  uint32_t shape[3];  /* the first `rank` of them */
  int32_t zero_point; /* real = (integer - zero_point) * scale */
  float scale;        /* 0 where the model says none */
  uint8_t type;       /* 0 u8, 1 i8, 2 i16, 3 i32 */
  uint8_t rank;
} tr_tensor;

/* A tensor that survives from one run to the next, behind everything that the steps overwrite. */
typedef struct {
  tr_tensor tensor;
  const void* initial; /* its elements before the first run; null: all of them are `fill` */
  int32_t fill;
} tr_state;

typedef struct {
  const char* name;
  uint8_t graph_sha256[32];
  uint16_t input_count;
  uint16_t output_count;
  uint16_t state_count;
  uint16_t step_count;
  const tr_tensor* inputs;
  const tr_tensor* outputs;
  const tr_state* states;
  const tr_step* steps;
  uint32_t input_bytes;  /* of all inputs */
  uint32_t output_bytes; /* of all outputs */
  uint32_t state_bytes;  /* of all states */
  uint32_t arena_bytes;  /* activations, kernel scratch, states */
  uint32_t arena_align;
} tr_model_t;

extern const tr_model_t tr_model;

#ifdef __cplusplus
}
#endif
#endif
