/* cycles.h: the Cortex-M4 cycle model of cycles.py, where it is described, for hooks.c. */
#ifndef TR_CYCLES_H
#define TR_CYCLES_H

#include <stdint.h>

static int is_wide(uint32_t half) { return half >> 11 >= 0x1D; }
static uint32_t half_at(const uint8_t* code) { return (uint32_t)code[0] | (uint32_t)code[1] << 8; }

typedef struct {
  uint32_t instructions, cycles;
  int32_t first_address; /* -1 unless the first instruction is a single load */
  uint32_t last_target;  /* 0 unless the last one is */
} straight;

static uint32_t bits(uint32_t mask) { return (uint32_t)__builtin_popcount(mask); }

static uint32_t load_cost(uint32_t target, uint32_t address) {
  return 2 | COST_LOAD | target << COST_TARGET_SHIFT | (address & 0x7FFF) << COST_ADDRESS_SHIFT;
}

static uint32_t narrow_cost(uint32_t first) {
  const uint32_t top = first >> 12;
  if (top == 5 && (first >> 9 & 7) >= 3) {
    return load_cost(first & 7, 1u << (first >> 3 & 7) | 1u << (first >> 6 & 7));
  }
  if (top >= 6 && top <= 8 && (first & 0x0800)) return load_cost(first & 7, 1u << (first >> 3 & 7));
  if (top == 9 && (first & 0x0800)) return load_cost(first >> 8 & 7, 1u << 13);
  if (first >> 11 == 9) return load_cost(first >> 8 & 7, 0);
  if (top == 12) return 1 + bits(first & 0xFF);
  if ((first & 0xF600) == 0xB400) return 1 + bits(first & 0x1FF);
  return 1;
}

static uint32_t wide_cost(uint32_t first, uint32_t second) {
  const uint32_t base = first & 15;
  if ((first & 0xFE40) == 0xE800) return 1 + bits(second);
  if ((first & 0xFE40) == 0xE840) return first & 0x0120 ? 3 : 2;
  if ((first & 0xFE10) == 0xF810 && (first & 0x0060) != 0x0060) {
    const uint32_t target = second >> 12;
    if (target == 15 && (first & 0x0060) != 0x0040) return 1;
    const int by_register = !(first & 0x0080) && !(second & 0x0FC0) && base != 15;
    return load_cost(target, 1u << base | (by_register ? 1u << (second & 15) : 0));
  }
  if ((first & 0xFFD0) == 0xFB90 && (second & 0x00F0) == 0x00F0) return COST_DIVISION;
  if ((first & 0xFE00) == 0xEC00 && (second & 0x0E00) == 0x0A00 && (first & 0xFFE0) != 0xEC40) {
    if ((first & 0x0120) == 0x0100) return second & 0x0100 ? 3 : 2;
    return 1 + (second & 0x3F);
  }
  return 1;
}

static uint32_t cost(uint32_t first, uint32_t second) {
  return is_wide(first) ? wide_cost(first, second) : narrow_cost(first);
}

static int joined(uint32_t last_target, int32_t first_address) {
  return last_target && first_address >= 0 && !((uint32_t)first_address & last_target);
}

static straight run_straight(const uint8_t* code, uint32_t size) {
  straight s = {0, 0, -1, 0};
  for (uint32_t i = 0; i < size; s.instructions++) {
    const uint32_t half = half_at(code + i);
    const int wide = is_wide(half);
    const uint32_t found = cost(half, wide ? half_at(code + i + 2) : 0);
    const int32_t address = found & COST_LOAD ? (int32_t)(found >> COST_ADDRESS_SHIFT) : -1;
    if (!s.instructions) s.first_address = address;
    s.cycles += (found & COST_CYCLES) - (uint32_t)joined(s.last_target, address);
    s.last_target = found & COST_LOAD ? 1u << (found >> COST_TARGET_SHIFT & 15) : 0;
    i += wide ? 4 : 2;
  }
  return s;
}

#endif
