// library.cpp: the model as a shared library, for tests and for `verify`: no port, no protocol.
// ctypes (toolchain/tinyrobust/image/host.py) calls it.
#include "tinyrobust.h"
#include "tr_image.h"

namespace {

struct Trace {
  int32_t* out;
  uint32_t at;
};

int32_t element(const uint8_t* from, uint8_t type, uint32_t i) {
  switch (type) {
    case 0:
      return from[i];
    case 1:
      return static_cast<int8_t>(from[i]);
    case 2: {
      int16_t value;
      __builtin_memcpy(&value, from + 2 * static_cast<size_t>(i), sizeof value);
      return value;
    }
    default: {
      int32_t value;
      __builtin_memcpy(&value, from + 4 * static_cast<size_t>(i), sizeof value);
      return value;
    }
  }
}

void trace_step(void* user, uint16_t, const tr_step* info, const uint8_t* arena) {
  auto& trace = *static_cast<Trace*>(user);
  for (uint32_t i = 0; i < info->out_count; ++i) {
    trace.out[trace.at++] = element(arena + info->out_offset, info->out_type, i);
  }
}

int invoke(const uint8_t* image, tr_step_hook hook, void* user) {
  const tr_status ready = tr_init(tr_arena, tr_arena_bytes);
  if (ready != TR_OK) return ready;
  __builtin_memcpy(tr_input(), image, tr_model.input_bytes);
  return tr_invoke(hook, user);
}

}  // namespace

extern "C" {

// Scores of `count` images one after the other; 0, or a tr_status.
int tr_predict(const uint8_t* images, uint32_t count, int32_t* scores) {
  for (uint32_t i = 0; i < count; ++i) {
    const int status =
        invoke(images + static_cast<size_t>(i) * tr_model.input_bytes, nullptr, nullptr);
    if (status != TR_OK) return status;
    const size_t bytes = tr_model.classes * sizeof(int32_t);
    __builtin_memcpy(scores + static_cast<size_t>(i) * tr_model.classes, tr_scores(), bytes);
  }
  return TR_OK;
}

// Number of int32 values that tr_trace writes.
uint32_t tr_trace_values(void) {
  uint32_t values = 0;
  for (uint16_t i = 0; i < tr_model.step_count; ++i) values += tr_model.steps[i].out_count;
  return values;
}

// Every step's tensor for one image, one after the other, widened to int32; 0, or a tr_status.
int tr_trace(const uint8_t* image, int32_t* values) {
  Trace trace = {values, 0};
  return invoke(image, trace_step, &trace);
}

}  // extern "C"
