// The executor behind tinyrobust.h: checks the arena once, then runs the generated call list.
#include "tinyrobust.h"

namespace {

uint8_t* arena = nullptr;

}  // namespace

extern "C" {

tr_status tr_init(uint8_t* memory, size_t bytes) {
  arena = nullptr;
  if (memory == nullptr || bytes < tr_model.arena_bytes) return TR_ARENA_TOO_SMALL;
  if (reinterpret_cast<uintptr_t>(memory) % tr_model.arena_align != 0) return TR_ARENA_MISALIGNED;
  arena = memory;
  return TR_OK;
}

uint8_t* tr_input(void) { return arena == nullptr ? nullptr : arena + tr_model.input_offset; }

tr_status tr_invoke(tr_step_hook hook, void* user) {
  if (arena == nullptr) return TR_NOT_READY;
  for (uint16_t i = 0; i < tr_model.step_count; ++i) {
    const tr_step* step = &tr_model.steps[i];
    step->run(arena);
    if (hook != nullptr) hook(user, i, step, arena);
  }
  return TR_OK;
}

const int32_t* tr_scores(void) {
  if (arena == nullptr) return nullptr;
  return reinterpret_cast<const int32_t*>(arena + tr_model.scores_offset);
}

uint16_t tr_argmax(const int32_t* scores, uint16_t count) {
  uint16_t best = 0;
  for (uint16_t i = 1; i < count; ++i) {
    if (scores[i] > scores[best]) best = i;
  }
  return best;
}

}  // extern "C"
