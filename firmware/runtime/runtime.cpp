// The executor behind tinyrobust.h: checks the arena once, then runs the generated call list.
#include "tinyrobust.h"

namespace {

uint8_t* arena = nullptr;

// Once, and small.
__attribute__((cold)) void begin(const tr_state& state) {
  uint8_t* const to = arena + state.tensor.offset;
  const uint32_t size = tr_element_bytes(state.tensor.type);
  const uint32_t bytes = state.tensor.count * size;
  const uint8_t* const from =
      static_cast<const uint8_t*>(state.initial != nullptr ? state.initial : &state.fill);
  const uint32_t last = state.initial != nullptr ? bytes : size;  // little-endian: low bytes first
  for (uint32_t i = 0, j = 0; i < bytes; ++i) {
    to[i] = from[j];
    if (++j == last) j = 0;
  }
}

}  // namespace

extern "C" {

tr_status tr_init(uint8_t* memory, size_t bytes) {
  arena = nullptr;
  if (memory == nullptr || bytes < tr_model.arena_bytes) return TR_ARENA_TOO_SMALL;
  if (reinterpret_cast<uintptr_t>(memory) % tr_model.arena_align != 0) return TR_ARENA_MISALIGNED;
  arena = memory;
  return tr_reset_state();
}

uint8_t* tr_at(const tr_tensor* tensor) {
  return arena == nullptr ? nullptr : arena + tensor->offset;
}

tr_status tr_invoke(tr_step_hook hook, void* user) {
  if (arena == nullptr) return TR_NOT_READY;
  for (uint16_t i = 0; i < tr_model.step_count; ++i) {
    const tr_step* step = &tr_model.steps[i];
    step->run(arena);
    if (hook != nullptr) hook(user, i, step, arena);
  }
  return TR_OK;
}

tr_status tr_reset_state(void) {
  if (arena == nullptr) return TR_NOT_READY;
  for (uint16_t i = 0; i < tr_model.state_count; ++i) begin(tr_model.states[i]);
  return TR_OK;
}

uint32_t tr_element_bytes(uint8_t type) { return type < 2 ? 1u : type == 2 ? 2u : 4u; }

}  // extern "C"
