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

bool ready = false;

// The library keeps its states from call to call: it is made ready once.
int prepare() {
  if (ready) return TR_OK;
  const tr_status status = tr_init(tr_arena, tr_arena_bytes);
  ready = status == TR_OK;
  return status;
}

size_t bytes_of(const tr_tensor& tensor) {
  return static_cast<size_t>(tensor.count) * tr_element_bytes(tensor.type);
}

int invoke(const uint8_t* from, tr_step_hook hook, void* user) {
  const int status = prepare();
  if (status != TR_OK) return status;
  for (uint16_t i = 0; i < tr_model.input_count; ++i) {
    const tr_tensor& input = tr_model.inputs[i];
    __builtin_memcpy(tr_at(&input), from, bytes_of(input));
    from += bytes_of(input);
  }
  return tr_invoke(hook, user);
}

}  // namespace

extern "C" {

// Runs `count` inputs one after the other, each all inputs of the model end to end; every element
// of every output, widened to int32. 0, or a tr_status.
int tr_predict(const uint8_t* inputs, uint32_t count, int32_t* values) {
  for (uint32_t n = 0; n < count; ++n) {
    const int status =
        invoke(inputs + static_cast<size_t>(n) * tr_model.input_bytes, nullptr, nullptr);
    if (status != TR_OK) return status;
    for (uint16_t i = 0; i < tr_model.output_count; ++i) {
      const tr_tensor& output = tr_model.outputs[i];
      for (uint32_t k = 0; k < output.count; ++k) {
        *values++ = element(tr_at(&output), output.type, k);
      }
    }
  }
  return TR_OK;
}

// Every state as it is now, end to end, widened to int32; 0, or a tr_status.
int tr_states(int32_t* values) {
  const int status = prepare();
  if (status != TR_OK) return status;
  for (uint16_t i = 0; i < tr_model.state_count; ++i) {
    const tr_tensor& state = tr_model.states[i].tensor;
    for (uint32_t k = 0; k < state.count; ++k) *values++ = element(tr_at(&state), state.type, k);
  }
  return TR_OK;
}

// Number of int32 values that tr_trace writes.
uint32_t tr_trace_values(void) {
  uint32_t values = 0;
  for (uint16_t i = 0; i < tr_model.step_count; ++i) values += tr_model.steps[i].out_count;
  return values;
}

// Every step's tensor for one input, one after the other, widened to int32; 0, or a tr_status.
int tr_trace(const uint8_t* input, int32_t* values) {
  Trace trace = {values, 0};
  return invoke(input, trace_step, &trace);
}

}  // extern "C"
