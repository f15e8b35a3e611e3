/* needs.h: what must hold at an access of a peripheral; the same as needs.py, where it is told.
 * Included by hooks.c. */
#ifndef TR_NEEDS_H
#define TR_NEEDS_H

#include <stdint.h>

/* What native.py passes in; mirrored there. The conditions of all needs follow each other: of each
 * need `when` of them, then the one that must hold. */
typedef struct {
  uint64_t rate_hz;
  uint32_t address, mask, shift, low, high, before;
} tr_condition;
typedef struct {
  uint32_t low, high, reads, writes, when;
} tr_need;

static int usual_rate(uint64_t hz, uint64_t divider) {
  static const uint32_t rates[] = {RATES};
  for (uint32_t i = 0; i < sizeof rates / sizeof *rates; i++) {
    const uint64_t product = rates[i] * divider;
    const uint64_t off = hz > product ? hz - product : product - hz;
    if (off * RATE_TOLERANCE <= product) return 1;
  }
  return 0;
}

static int holds(const tr_condition* c, uint32_t word) {
  const uint32_t value = (word & c->mask) >> c->shift;
  if (c->rate_hz) return usual_rate(c->rate_hz, value);
  return c->low <= value && value <= c->high;
}

#endif
