/* hooks.c: the inner loop of the Unicorn virtual board, compiled on first use by native.py.
 *
 * In: a Unicorn engine, the board's memories and register rows (peripherals.py). It counts
 * instructions, answers peripheral accesses, moves bytes between the UART and a descriptor, and in
 * strict mode checks single instructions. The rules of single instructions stand in thumb.py and
 * cycles.py too, and the tests hold the two against each other. Roles, faults and check bits come
 * from Python as -D definitions.
 */
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unicorn/unicorn.h>
#include <unistd.h>

#include "cycles.h"

enum { PAGE_WORDS = 1024, KIB = 1024, MPU_REGIONS = 16, RAM_SLOTS = 1 << 14 };
enum { POLLS_BEFORE_READ = 16, POLLS_BEFORE_SLEEP = 64, SLEEP_MS = 50, GIVE_UP_MS = 5000 };
enum { FLUSH_AFTER_INSTRUCTIONS = 200000 };
enum { RULED_SHOWS = 1, RULED_NEEDS = 2, ACCESS_READ = 1, ACCESS_WRITE = 2 };

/* What native.py passes in; mirrored there. */
typedef struct {
  uint32_t address, reset, ones, role, of, to, width;
} tr_row; /* rows with the same address carry one follow each */
typedef struct {
  uint32_t base, size, open;
} tr_block;
typedef struct {
  uint32_t base, size, is_flash;
  const uint8_t* bytes;
} tr_span;

typedef struct {
  uint32_t address, mask, low, high, before;
} tr_condition;
typedef struct {
  uint32_t kind, base, size, first, count, access; /* conditions first to first + count */
} tr_rule;

/* What native.py reads; mirrored there. */
typedef struct {
  uint64_t count;  /* instructions */
  uint64_t cycles; /* of the Cortex-M4 model: an estimate */
  uint32_t request;
  uint32_t fault, fault_address, fault_size, fault_is_write;
  uint32_t mpu_v8; /* base and limit, not base and size */
  uint32_t mpu_control, mpu_number, mpu_base[MPU_REGIONS], mpu_attributes[MPU_REGIONS];
} tr_shared;

typedef struct {
  uint32_t address, size;
  straight cost;
  uint8_t* bytes;   /* RAM: a copy, since code there may change */
  uint8_t* checks;  /* strict mode: one byte per half word, or NULL when there are none */
  int synchronises; /* ends with DSB, ISB */
  uint32_t absent;  /* 1 + offset of the first instruction that the core does not have, or 0 */
} slot;

/* Executable RAM that firmware writes, see code_ram.py. The three views of its bytes: the
 * processor's (the span's own), what a data cache has written back, what an instruction is fetched
 * from. */
typedef struct {
  uint32_t low, high, cached;
  const uint8_t* bytes;
  uint8_t *stored, *fetched, *stale; /* stale: per line, invalidated since the last barrier */
} code_ram;

typedef struct board board;
typedef struct {
  board* owner;
  uint32_t base;
  uint32_t word[PAGE_WORDS];
  int32_t row[PAGE_WORDS];     /* first row, -1 when the register is not listed */
  uint8_t covered[PAGE_WORDS]; /* 0: no block here, 1: a block, 2: an open block */
  uint8_t ruled[PAGE_WORDS];   /* RULED_SHOWS, RULED_NEEDS */
} page;

struct board {
  tr_shared shared;
  uc_engine* uc;
  int fd, strict;
  uint32_t level; /* which instructions the core has, see thumb.py */
  tr_row* rows;
  int32_t* next; /* the next row with the same address, -1 */
  uint32_t row_count;
  page* pages;
  uint32_t page_count;
  tr_span* spans;
  uint32_t span_count;
  slot** flash_slots;
  uint32_t flash_base, flash_size;
  const uint8_t* flash_bytes;
  slot* ram_slots;
  const slot* current;
  code_ram code;
  tr_rule* rules;
  tr_condition* conditions;
  uint32_t rule_count, uart_hz, tick_cycles;
  uint32_t uart_rate;  /* baud, 0: not looked at */
  uint32_t nrf_loaded; /* RXD holds a byte that was not read */
  uint32_t uart_control, cpacr, cssel_address, dwt_control, demcr;
  uint64_t cycles_from; /* count at which CYCCNT was 0, while it runs */
  uint32_t cycles_frozen;
  int cycles_run;
  int clock;          /* what the counters count: 0 instructions, 1 the model's cycles */
  uint32_t expected;  /* where the code goes on when no branch is taken */
  uint32_t last_load; /* the register that the last instruction loads, as a mask */
  uint32_t timer_control;
  uint32_t systick_control, systick_reload;
  uint64_t systick_from; /* count at which it was 0 */
  uint64_t rearm_at;     /* count at which Python wants the guard armed again */
  uint32_t idle_polls;
  uint64_t sent_at;
  uint32_t waits, waits_address, waits_value; /* reads of one register and nothing else */
  uint8_t rx[65536], tx[4096];
  uint32_t rx_at, rx_end, tx_end;
};

/* Thumb-2: the same as thumb.py, where the sources are named. */
uint32_t tr_checks(uint32_t first, uint32_t second) {
  if (!is_wide(first)) {
    return (first & 0xF000) == 0xC000 ? CHECK_ALIGNED | (first >> 8 & 7) : 0;
  }
  const uint32_t base = first & 15;
  if ((first & 0xFE40) == 0xE800) return CHECK_ALIGNED | base;
  if ((first & 0xFE40) == 0xE840) {
    return (first & 0xFFE0) == 0xE8C0 || base == 15 ? 0 : CHECK_ALIGNED | base;
  }
  if ((first & 0xEC00) == 0xEC00 && (second & 0x0E00) == 0x0A00) {
    const int loads = (first & 0xFE00) == 0xEC00 && (first & 0xFFE0) != 0xEC40;
    return loads && base != 15 ? CHECK_FPU | CHECK_ALIGNED | base : CHECK_FPU;
  }
  if ((first & 0xFFD0) == 0xFB90 && (second & 0x00F0) == 0x00F0) {
    return CHECK_DIVISOR | (second & 15);
  }
  return 0;
}

static int is_dsp(uint32_t first, uint32_t second) {
  const uint32_t operation = second >> 4 & 15;
  if ((first & 0xFFE0) == 0xEAC0) return 1;
  if ((first & 0xFF70) == 0xF320) return !(second & 0x70C0);
  if ((first & 0xFF00) == 0xFA00 && (second & 0xF000) == 0xF000) {
    if (!(first & 0x0080)) {
      return operation >= 8 && ((first & 0x0060) == 0x0020 || (first & 15) != 15);
    }
    return operation < 8 || (operation < 12 && !(first & 0x0010));
  }
  if ((first & 0xFF80) == 0xFB00) return (first & 0x0070) != 0;
  if ((first & 0xFF80) == 0xFB80) return (first >> 4 & 7) >= 4 && operation != 0;
  return 0;
}

uint32_t tr_absent(uint32_t first, uint32_t second, uint32_t level) {
  if (level == LEVEL_ALL) return 0;
  if (!is_wide(first)) {
    if (level != LEVEL_ARMV6M) return 0;
    return (first & 0xF500) == 0xB100 || ((first & 0xFF00) == 0xBF00 && (first & 15));
  }
  if (level != LEVEL_ARMV6M) return (uint32_t)is_dsp(first, second);
  if (first >> 11 != 0x1E || !(second & 0x8000)) return 1;
  if ((second & 0xD000) == 0xD000) return 0;
  const int moves = first == 0xF3BF || first == 0xF3EF || (first & 0xFFF0) == 0xF380;
  return !(moves && (second & 0xD000) == 0x8000);
}

static void raise_fault(board* b, uint32_t kind, uint32_t address, uint32_t size, int is_write) {
  if (b->shared.fault == FAULT_NONE) {
    b->shared.fault = kind;
    b->shared.fault_address = address;
    b->shared.fault_size = size;
    b->shared.fault_is_write = (uint32_t)is_write;
  }
  b->shared.request |= REQUEST_FAULT;
  uc_emu_stop(b->uc);
}

/* Rules: what depends on other registers. */
static page* page_at(board* b, uint32_t address);
static uint32_t apply_rows(board* b, page* p, uint32_t index, uint32_t value);

/* `value` is what a write is about to leave in the register `written` (0: nothing). */
static int condition_holds(board* b, const tr_condition* c, uint32_t written, uint32_t value) {
  page* p = page_at(b, c->address);
  const uint32_t index = (c->address & 4095) >> 2;
  if (!p) return c->low == 0;
  const uint32_t word = c->address == written && !c->before ? value : p->word[index];
  const uint32_t bits = apply_rows(b, p, index, word) & c->mask;
  return c->low <= bits && bits <= c->high;
}

static int holds(board* b, const tr_rule* rule) {
  for (uint32_t i = rule->first; i < rule->first + rule->count; i++) {
    if (!condition_holds(b, &b->conditions[i], 0, 0)) return 0;
  }
  return 1;
}

/* 1 when a byte passes the line of that kind; in strict mode one that does not is a fault. */
static int passes(board* b, uint32_t kind) {
  for (uint32_t i = 0; i < b->rule_count; i++) {
    if (b->rules[i].kind != kind || holds(b, &b->rules[i])) continue;
    if (b->strict) raise_fault(b, FAULT_UNCONNECTED, b->rules[i].base, i, kind == RULE_TRANSMITS);
    return 0;
  }
  return 1;
}

/* 1 when no need forbids the access (rules.py): its last condition holds, or one before does
 * not. */
static int ready(page* p, uint32_t index, uint32_t access, uint32_t value) {
  board* b = p->owner;
  const uint32_t address = p->base + 4 * index, written = access == ACCESS_WRITE ? address : 0;
  if (!(p->ruled[index] & RULED_NEEDS)) return 1;
  for (uint32_t i = 0; i < b->rule_count; i++) {
    const tr_rule* rule = &b->rules[i];
    if (rule->kind != RULE_NEEDS || address - rule->base >= rule->size) continue;
    if (!(rule->access & access)) continue;
    const tr_condition *c = &b->conditions[rule->first], *must = c + rule->count - 1;
    while (c != must && condition_holds(b, c, written, value)) c++;
    if (c != must || condition_holds(b, must, written, value)) continue;
    raise_fault(b, rule->size > 4 ? FAULT_PERIPHERAL_OFF : FAULT_UNREADY, address, i,
                access == ACCESS_WRITE);
    return 0;
  }
  return 1;
}

/* What the program at the other end has set, 0 when it cannot be known. */
static uint32_t line_rate(const board* b) {
  static const struct {
    speed_t code;
    uint32_t baud;
  } known[] = {{B1200, 1200},       {B2400, 2400},       {B4800, 4800},       {B9600, 9600},
               {B19200, 19200},     {B38400, 38400},     {B57600, 57600},     {B115200, 115200},
               {B230400, 230400},   {B460800, 460800},   {B500000, 500000},   {B576000, 576000},
               {B921600, 921600},   {B1000000, 1000000}, {B1152000, 1152000}, {B1500000, 1500000},
               {B2000000, 2000000}, {B2500000, 2500000}, {B3000000, 3000000}, {B3500000, 3500000},
               {B4000000, 4000000}};
  struct termios t;
  if (tcgetattr(b->fd, &t)) return 0;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (known[i].code == cfgetospeed(&t)) return known[i].baud;
  }
  return 0;
}

static void through_the_line(const board* b, uint8_t* bytes, uint32_t n) {
  if (!b->strict || !b->uart_rate || !n) return;
  const uint64_t line = line_rate(b), mine = b->uart_rate;
  const uint64_t off = line > mine ? line - mine : mine - line;
  if (!line || off * 100 <= line * RATE_TOLERANCE_PERCENT) return;
  for (uint32_t i = 0; i < n; i++) bytes[i] ^= GARBLE;
}

/* The UART's two directions. */
static void flush(board* b) {
  uint32_t done = 0;
  int waited = 0;
  through_the_line(b, b->tx, b->tx_end);
  while (done < b->tx_end) {
    const ssize_t n = write(b->fd, b->tx + done, b->tx_end - done);
    if (n > 0) {
      done += (uint32_t)n;
      continue;
    }
    /* Nobody reads: like a wire with nobody at its end, let the bytes go after a while. */
    if (waited >= GIVE_UP_MS) break;
    struct pollfd p = {b->fd, POLLOUT, 0};
    poll(&p, 1, 100);
    waited += 100;
  }
  b->tx_end = 0;
}

static void refill(board* b, int timeout_ms) {
  struct pollfd p = {b->fd, POLLIN, 0};
  if (poll(&p, 1, timeout_ms) > 0 && (p.revents & POLLIN)) {
    const ssize_t n = read(b->fd, b->rx, sizeof b->rx);
    b->rx_at = 0;
    b->rx_end = n > 0 ? (uint32_t)n : 0;
    /* it went by on another pin */
    if (b->rx_end && !passes(b, RULE_RECEIVES)) b->rx_end = 0;
    through_the_line(b, b->rx, b->rx_end);
  }
}

static void set_rate(board* b, uint64_t baud) {
  flush(b);
  b->uart_rate = (uint32_t)baud;
}

static void transmit(board* b, uint32_t value) {
  b->idle_polls = 0;
  if (!passes(b, RULE_TRANSMITS)) return;
  if (b->tx_end == sizeof b->tx) flush(b);
  b->tx[b->tx_end++] = (uint8_t)value;
  b->sent_at = b->shared.count;
}

static int uart_on(const board* b, uint32_t bit) {
  return (b->uart_control & (UART_ENABLE | bit)) == (UART_ENABLE | bit);
}

static uint32_t uart_status(board* b) {
  uint32_t value = UART_IDLE_STATUS;
  if (uart_on(b, UART_TRANSMITTER)) value |= UART_TRANSMIT_READY;
  if (!uart_on(b, UART_RECEIVER)) return value;
  value |= UART_RECEIVE_READY;
  if (b->rx_at == b->rx_end) {
    /* Sleep only after some polls, or every byte would wait; look before sending for long. */
    if (++b->idle_polls > POLLS_BEFORE_READ) {
      if (b->tx_end) flush(b);
      const int serves = uart_on(b, UART_TRANSMITTER);
      refill(b, serves && b->idle_polls > POLLS_BEFORE_SLEEP ? SLEEP_MS : 0);
    }
  }
  if (b->rx_at != b->rx_end) value |= UART_RECEIVED;
  return value;
}

/* A byte moves into RXD, with its event, when there is one and the last was read. */
static void nrf_load(board* b, page* p, uint32_t index) {
  if (!b->nrf_loaded && (uart_status(b) & UART_RECEIVED)) {
    b->nrf_loaded = 1;
    p->word[index] = 1;
  }
}

/* DWT, or the timer of another board: counts instructions, or the model's cycles. */
static uint64_t now(const board* b) { return b->clock ? b->shared.cycles : b->shared.count; }

static uint32_t cycles(const board* b) {
  return b->cycles_run ? (uint32_t)(now(b) - b->cycles_from) : b->cycles_frozen;
}

static void set_cycles(board* b, uint32_t value) {
  b->cycles_frozen = value;
  b->cycles_from = now(b) - value;
}

static void gate_cycles(board* b) {
  const uint32_t value = cycles(b);
  b->cycles_run = ((b->dwt_control & 1) && (b->demcr >> 24 & 1)) || (b->timer_control & 1);
  set_cycles(b, value);
}

/* SysTick: down from its reload value, with the core's clock only. */
static int systick_runs(const board* b) { return (b->systick_control & 5) == 5; }

static uint32_t systick_value(const board* b) {
  const uint64_t elapsed = systick_runs(b) ? now(b) - b->systick_from : 0;
  const uint32_t period = b->systick_reload + 1;
  return elapsed ? b->systick_reload - (uint32_t)((elapsed - 1) % period) : 0;
}

/* Executable RAM. */
static int cache_on(board* b, uint32_t bit) {
  page* p = page_at(b, CCR_ADDRESS);
  return b->code.cached && p && (p->word[(CCR_ADDRESS & 4095) >> 2] & bit);
}

static void lines(code_ram* c, uint32_t address, int all, void (*each)(code_ram*, uint32_t)) {
  if (!all) {
    address &= ~(LINE_BYTES - 1u);
    if (address + LINE_BYTES > c->low && address < c->high) each(c, address);
    return;
  }
  for (uint32_t a = c->low & ~(LINE_BYTES - 1u); a < c->high; a += LINE_BYTES) each(c, a);
}

static void copy_line(const code_ram* c, uint8_t* to, const uint8_t* from, uint32_t line) {
  const uint32_t first = line < c->low ? c->low : line;
  const uint32_t end = line + LINE_BYTES > c->high ? c->high : line + LINE_BYTES;
  memcpy(to + (first - c->low), from + (first - c->low), end - first);
}

static uint32_t line_index(const code_ram* c, uint32_t line) {
  return (line - (c->low & ~(LINE_BYTES - 1u))) / LINE_BYTES;
}

static void clean_line(code_ram* c, uint32_t line) { copy_line(c, c->stored, c->bytes, line); }
static void mark_line(code_ram* c, uint32_t line) { c->stale[line_index(c, line)] = 1; }
static void fetch_line(code_ram* c, uint32_t line) {
  if (!c->stale[line_index(c, line)]) return;
  c->stale[line_index(c, line)] = 0;
  copy_line(c, c->fetched, c->stored, line);
}

static void cache_operation(board* b, uint32_t address, uint32_t value) {
  code_ram* c = &b->code;
  if (c->low == c->high) return;
  switch (address) {
    case CACHE_CLEAN_LINE_U:
    case CACHE_CLEAN_LINE_C:
    case CACHE_CLEAN_INVALIDATE_LINE:
      lines(c, value, 0, clean_line);
      break;
    case CACHE_CLEAN_SET:
    case CACHE_CLEAN_INVALIDATE_SET:
      lines(c, 0, 1, clean_line);
      break;
    case CACHE_INVALIDATE_CODE_LINE:
      lines(c, value, 0, mark_line);
      break;
    case CACHE_INVALIDATE_CODE:
      lines(c, 0, 1, mark_line);
      break;
    default:
      break;
  }
}

/* After DSB and ISB. */
static void synchronise(board* b) {
  code_ram* c = &b->code;
  if (!cache_on(b, CCR_DATA_CACHE)) memcpy(c->stored, c->bytes, c->high - c->low);
  if (cache_on(b, CCR_INSTRUCTION_CACHE)) {
    lines(c, 0, 1, fetch_line);
  } else {
    memcpy(c->fetched, c->stored, c->high - c->low);
  }
}

static uint32_t region_start(const tr_shared* s, uint32_t i) { return s->mpu_base[i] & ~31u; }
static int region_never(const tr_shared* s, uint32_t i) { /* execute-never */
  return s->mpu_v8 ? s->mpu_base[i] & 1 : (s->mpu_attributes[i] & MPU_EXECUTE_NEVER) != 0;
}
static int region_read_only(const tr_shared* s, uint32_t i) {
  return s->mpu_v8 ? s->mpu_base[i] & 4 : (s->mpu_attributes[i] >> 24 & 7) >= 5;
}

/* The MPU region that holds it, -1 when there is none. */
static int code_region(const board* b) {
  for (int i = MPU_REGIONS - 1; i >= 0 && b->shared.mpu_control & 1; i--) {
    const tr_shared* s = &b->shared;
    if ((s->mpu_attributes[i] & 1) && region_start(s, (uint32_t)i) == b->code.low) return i;
  }
  return -1;
}

static void raise_code(board* b, uint32_t kind, uint32_t address, uint32_t reason) {
  raise_fault(b, kind, address, reason, 0);
}

/* 1 when the block may run. */
static int may_run(board* b, uint32_t address, uint32_t size) {
  const code_ram* c = &b->code;
  const int region = code_region(b);
  if (region >= 0 && region_never(&b->shared, (uint32_t)region)) {
    raise_code(b, FAULT_WRITABLE_CODE, address, 0);
    return 0;
  }
  const uint32_t at = address - c->low;
  const uint32_t n = size < c->high - address ? size : c->high - address;
  if (!memcmp(c->bytes + at, c->fetched + at, n)) return 1;
  const int unclean = memcmp(c->bytes + at, c->stored + at, n);
  const uint32_t reason = unclean && cache_on(b, CCR_DATA_CACHE) ? STALE_NOT_CLEANED
                          : cache_on(b, CCR_INSTRUCTION_CACHE)   ? STALE_NOT_INVALIDATED
                                                                 : STALE_NO_BARRIER;
  raise_code(b, FAULT_STALE_CODE, address, reason);
  return 0;
}

static void on_code_write(uc_engine* uc, uc_mem_type type, uint64_t address, int size,
                          int64_t value, void* user) {
  board* b = user;
  const int region = code_region(b);
  (void)uc;
  (void)type;
  (void)value;
  if (region >= 0 && region_read_only(&b->shared, (uint32_t)region)) {
    raise_fault(b, FAULT_PROTECTION, (uint32_t)address, (uint32_t)size, 1);
  }
}

/* Peripherals. */
static uint32_t apply_rows(board* b, page* p, uint32_t index, uint32_t value) {
  const uint32_t stored = value;
  for (int32_t i = p->row[index]; i >= 0; i = b->next[i]) {
    const tr_row* r = &b->rows[i];
    value |= r->ones;
    if (r->width) {
      const uint32_t mask = (1u << r->width) - 1;
      value = (value & ~(mask << r->to)) | ((stored >> r->of & mask) << r->to);
    }
  }
  if (p->ruled[index] & RULED_SHOWS) {
    for (uint32_t i = 0; i < b->rule_count; i++) {
      const tr_rule* rule = &b->rules[i];
      if (rule->kind != RULE_SHOWS || rule->base != p->base + 4 * index) continue;
      value = holds(b, rule) ? value | rule->size : value & ~rule->size;
    }
  }
  return value;
}

static uint32_t read_word(board* b, page* p, uint32_t index) {
  const int32_t row = p->row[index];
  const uint32_t stored = p->word[index];
  if (row < 0) return stored;
  switch (b->rows[row].role) {
    case ROLE_UART_STATUS:
      return uart_status(b);
    case ROLE_NRF_RECEIVED:
      nrf_load(b, p, index);
      return p->word[index];
    case ROLE_NRF_RXD: {
      if (!b->nrf_loaded) return 0;
      const uint32_t value = b->rx_at != b->rx_end ? b->rx[b->rx_at++] : 0;
      b->nrf_loaded = 0;
      b->idle_polls = 0;
      if (b->rx_at != b->rx_end) nrf_load(b, p, index - (NRF_RXD_OFFSET - NRF_EVENT_OFFSET) / 4);
      return value;
    }
    case ROLE_SAM_STATUS:
      return (uart_on(b, UART_TRANSMITTER) ? SAM_SENT : 0) |
             (uart_status(b) & UART_RECEIVED ? SAM_RECEIVED : 0);
    case ROLE_PL011_FLAGS:
      return PL011_TX_EMPTY | (uart_status(b) & UART_RECEIVED ? 0 : PL011_RX_EMPTY);
    case ROLE_UART_RECEIVE:
    case ROLE_PL011_DATA:
    case ROLE_CMSDK_DATA:
      b->idle_polls = 0;
      return b->rx_at != b->rx_end ? b->rx[b->rx_at++] : 0;
    case ROLE_DWT_CYCLES:
      return cycles(b);
    case ROLE_TIMER_VALUE:
      return ~cycles(b); /* it counts down */
    case ROLE_TICKS:
      return (uint32_t)(now(b) / b->tick_cycles);
    case ROLE_CMSDK_STATE:
      return uart_status(b) & UART_RECEIVED ? CMSDK_RECEIVE_FULL : 0;
    case ROLE_CACHE_SIZE: {
      const uint32_t select = p->word[index + 1]; /* CSSELR follows CCSIDR */
      return select & 1 ? INSTRUCTION_CACHE_ID : DATA_CACHE_ID;
    }
    case ROLE_MPU_CONTROL:
      return b->shared.mpu_control;
    case ROLE_MPU_NUMBER:
      return b->shared.mpu_number;
    case ROLE_MPU_BASE:
      return b->shared.mpu_base[b->shared.mpu_number] | b->shared.mpu_number;
    case ROLE_MPU_BASE_V8:
      return b->shared.mpu_base[b->shared.mpu_number];
    case ROLE_SYSTICK_VALUE:
      return systick_value(b);
    case ROLE_MPU_LIMIT:
    case ROLE_MPU_ATTRIBUTES:
      return b->shared.mpu_attributes[b->shared.mpu_number];
    default:
      return apply_rows(b, p, index, stored);
  }
}

static void write_word(board* b, page* p, uint32_t index, uint32_t value) {
  const int32_t row = p->row[index];
  const uint32_t role = row < 0 ? ROLE_PLAIN : b->rows[row].role;
  tr_shared* s = &b->shared;
  switch (role) {
    case ROLE_CONSTANT:
    case ROLE_UART_STATUS:
    case ROLE_PL011_FLAGS:
    case ROLE_CMSDK_STATE:
    case ROLE_SAM_STATUS:
    case ROLE_NRF_RXD:
    case ROLE_TICKS:
      return;
    case ROLE_UART_CONTROL:
      b->uart_control = value;
      break;
    case ROLE_CMSDK_CONTROL:
      b->uart_control = UART_ENABLE | (value & CMSDK_TRANSMITTER ? UART_TRANSMITTER : 0) |
                        (value & CMSDK_RECEIVER ? UART_RECEIVER : 0);
      break;
    case ROLE_UART_TRANSMIT:
    case ROLE_PL011_DATA:
    case ROLE_CMSDK_DATA:
      if (uart_on(b, UART_TRANSMITTER)) transmit(b, value);
      return;
    case ROLE_PL011_CONTROL:
      b->uart_control = (value & PL011_ENABLE ? UART_ENABLE : 0) |
                        (value & PL011_TX ? UART_TRANSMITTER : 0) |
                        (value & PL011_RX ? UART_RECEIVER : 0);
      break;
    case ROLE_STM32_RATE:
      if (b->uart_hz) set_rate(b, value ? (b->uart_hz + value / 2) / value : 1);
      break;
    case ROLE_STM32_LPUART_RATE:
      if (b->uart_hz) set_rate(b, value ? (256ull * b->uart_hz + value / 2) / value : 1);
      break;
    case ROLE_STM32F4_CONTROL:
      b->uart_control =
          (value & STM32F4_UE ? UART_ENABLE : 0) | (value & (UART_TRANSMITTER | UART_RECEIVER));
      break;
    case ROLE_PL011_LINE: /* after UARTIBRD and UARTFBRD */
      if (b->uart_hz) {
        const uint64_t divisor = 64ull * p->word[index - 2] + (p->word[index - 1] & 63);
        set_rate(b, divisor ? (4ull * b->uart_hz + divisor / 2) / divisor : 1);
      }
      break;
    case ROLE_SAM_CONTROL:
      b->uart_control |= UART_ENABLE | (value & SAM_RX_ON ? UART_RECEIVER : 0) |
                         (value & SAM_TX_ON ? UART_TRANSMITTER : 0);
      if (value & SAM_RX_OFF) b->uart_control &= ~UART_RECEIVER;
      if (value & SAM_TX_OFF) b->uart_control &= ~UART_TRANSMITTER;
      return;
    case ROLE_SAM_RATE:
      if (b->uart_hz) set_rate(b, value ? b->uart_hz / (16ull * value) : 1);
      break;
    case ROLE_SAM_RESET:
      if (value >> 24 == SAM_RESET_KEY && (value & SAM_RESET_BOTH) == SAM_RESET_BOTH) {
        s->request |= REQUEST_RESET;
        uc_emu_stop(b->uc);
      }
      return;
    case ROLE_NRF_ENABLE:
      b->uart_control = (value & 15) == NRF_UART_ON ? UART_ENABLE : 0;
      b->nrf_loaded = 0;
      break;
    case ROLE_NRF_RATE:
      if (b->uart_hz) set_rate(b, (uint64_t)value * b->uart_hz >> 32);
      break;
    case ROLE_NRF_START_RX:
      if (value & 1) b->uart_control |= UART_RECEIVER;
      return;
    case ROLE_NRF_STOP_RX:
      if (value & 1) b->uart_control &= ~UART_RECEIVER;
      return;
    case ROLE_NRF_START_TX:
      if (value & 1) b->uart_control |= UART_TRANSMITTER;
      return;
    case ROLE_NRF_STOP_TX:
      if (value & 1) b->uart_control &= ~UART_TRANSMITTER;
      return;
    case ROLE_NRF_TXD:
      if (!uart_on(b, UART_TRANSMITTER)) return; /* and TXDRDY never comes */
      transmit(b, value);
      p->word[index - (NRF_TXD_OFFSET - NRF_SENT_OFFSET) / 4] = 1;
      return;
    case ROLE_DWT_CONTROL:
      b->dwt_control = value;
      gate_cycles(b);
      break;
    case ROLE_DEBUG_CONTROL:
      b->demcr = value;
      gate_cycles(b);
      break;
    case ROLE_DWT_CYCLES:
      set_cycles(b, value);
      return;
    case ROLE_TIMER_CONTROL:
      b->timer_control = value;
      gate_cycles(b);
      break;
    case ROLE_TIMER_VALUE:
      set_cycles(b, ~value);
      return;
    case ROLE_RESET_CONTROL:
      if (value >> 16 == 0x05FA && (value & 4)) {
        s->request |= REQUEST_RESET;
        uc_emu_stop(b->uc);
      }
      return;
    case ROLE_FPU_ACCESS:
      b->cpacr = value;
      break;
    case ROLE_CACHE_OPERATION:
      cache_operation(b, p->base + 4 * index, value);
      return;
    case ROLE_MPU_CONTROL:
      s->mpu_control = value & 7;
      s->request |= REQUEST_MPU; /* taken up at the next block */
      return;
    case ROLE_MPU_NUMBER:
      s->mpu_number = value & (MPU_REGIONS - 1);
      return;
    case ROLE_MPU_BASE:
      if (value & 0x10) s->mpu_number = value & (MPU_REGIONS - 1);
      s->mpu_base[s->mpu_number] = value & ~31u;
      if (s->mpu_control & 1) s->request |= REQUEST_MPU;
      return;
    case ROLE_MPU_BASE_V8:
    case ROLE_MPU_LIMIT:
    case ROLE_MPU_ATTRIBUTES:
      (role == ROLE_MPU_BASE_V8 ? s->mpu_base : s->mpu_attributes)[s->mpu_number] = value;
      /* Executable RAM is watched here, not by the engine's rights (code_ram.py). */
      if (b->code.high > b->code.low && region_start(s, s->mpu_number) == b->code.low) return;
      if (s->mpu_control & 1) s->request |= REQUEST_MPU;
      return;
    case ROLE_SYSTICK_CONTROL:
      if ((value & 5) == 5 && !systick_runs(b)) b->systick_from = now(b);
      b->systick_control = value;
      break;
    case ROLE_SYSTICK_RELOAD:
      b->systick_reload = value & 0xFFFFFF;
      break;
    case ROLE_SYSTICK_VALUE:
      b->systick_from = now(b);
      return;
    default:
      break;
  }
  p->word[index] = value;
}

/* Firmware that reads `value` of one register for ever waits for what does not come. */
static void count_wait(board* b, page* p, uint32_t index, uint32_t value) {
  const uint32_t address = p->base + 4 * index;
  const uint32_t role = p->row[index] < 0 ? ROLE_PLAIN : b->rows[p->row[index]].role;
  const int serves = role < 64 && ((uint64_t)LISTENING >> role & 1);
  if (address != b->waits_address || value != b->waits_value ||
      (serves && uart_on(b, UART_RECEIVER) && uart_on(b, UART_TRANSMITTER))) {
    b->waits_address = address;
    b->waits_value = value;
    b->waits = 0;
  } else if (++b->waits > WAITS) {
    raise_fault(b, FAULT_WAITING, address, value, 0);
  }
}

/* 1 when an access may go on. */
static int allowed(page* p, uint32_t offset, uint32_t size, int is_write) {
  const uint32_t index = offset >> 2;
  board* b = p->owner;
  uint32_t kind = FAULT_NONE;
  if (!p->covered[index]) {
    kind = FAULT_UNMAPPED;
  } else if (b->strict && p->covered[index] == 1 && p->row[index] < 0) {
    kind = FAULT_REGISTER;
  }
  if (kind == FAULT_NONE) return 1;
  raise_fault(b, kind, p->base + offset, size, is_write);
  return 0;
}

static uint64_t on_read(uc_engine* uc, uint64_t offset, unsigned size, void* user) {
  page* p = user;
  (void)uc;
  if (!allowed(p, (uint32_t)offset, size, 0)) return 0;
  const uint32_t shift = 8 * ((uint32_t)offset & 3), index = (uint32_t)offset >> 2;
  if (!ready(p, index, ACCESS_READ, 0)) return 0;
  const uint32_t word = read_word(p->owner, p, index);
  count_wait(p->owner, p, index, word);
  const uint64_t value = word >> shift;
  return size >= 4 ? value : value & ((1ull << 8 * size) - 1);
}

static void on_write(uc_engine* uc, uint64_t offset, unsigned size, uint64_t value, void* user) {
  page* p = user;
  (void)uc;
  if (!allowed(p, (uint32_t)offset, size, 1)) return;
  const uint32_t index = (uint32_t)offset >> 2;
  if (size < 4) { /* UART data registers are often written as bytes */
    const int32_t row = p->row[index];
    const uint32_t role = row < 0 ? ROLE_PLAIN : p->owner->rows[row].role;
    if (role != ROLE_UART_TRANSMIT && role != ROLE_CMSDK_DATA && role != ROLE_PL011_DATA) {
      const uint32_t shift = 8 * ((uint32_t)offset & 3);
      const uint32_t mask = ((1u << 8 * size) - 1) << shift;
      value = (p->word[index] & ~mask) | ((uint32_t)value << shift & mask);
    }
  }
  p->owner->waits_address = 0;
  if (!ready(p, index, ACCESS_WRITE, (uint32_t)value)) return;
  write_word(p->owner, p, index, (uint32_t)value);
}

/* Code. */
static void analyse(board* b, slot* s, const uint8_t* code, uint32_t address, uint32_t size) {
  s->address = address;
  s->size = size;
  s->cost = run_straight(code, size);
  static const uint8_t barriers[8] = {0xBF, 0xF3, 0x4F, 0x8F, 0xBF, 0xF3, 0x6F, 0x8F};
  s->synchronises = size >= 8 && !memcmp(code + size - 8, barriers, 8);
  free(s->checks);
  s->checks = NULL;
  s->absent = 0;
  if (!b->strict && b->level == LEVEL_ALL) return;
  for (uint32_t i = 0; i < size;) {
    const uint32_t first = half_at(code + i);
    const int wide = is_wide(first);
    const uint32_t second = wide ? half_at(code + i + 2) : 0;
    if (!s->absent && tr_absent(first, second, b->level)) s->absent = 1 + i;
    const uint32_t check = b->strict ? tr_checks(first, second) : 0;
    if (check) {
      if (!s->checks) s->checks = calloc(size / 2, 1);
      s->checks[i / 2] = (uint8_t)check;
    }
    i += wide ? 4 : 2;
  }
}

static const slot* ram_slot(board* b, uint32_t address, uint32_t size) {
  const tr_span* span = NULL;
  for (uint32_t i = 0; i < b->span_count && !span; i++) {
    if (address - b->spans[i].base < b->spans[i].size) span = &b->spans[i];
  }
  if (!span) return NULL;
  const uint8_t* code = span->bytes + (address - span->base);
  slot* s = &b->ram_slots[(address >> 1) % RAM_SLOTS];
  if (s->address == address && s->size == size && !memcmp(s->bytes, code, size)) return s;
  free(s->bytes);
  s->bytes = malloc(size ? size : 1);
  memcpy(s->bytes, code, size);
  analyse(b, s, code, address, size);
  return s;
}

static void on_block(uc_engine* uc, uint64_t address64, uint32_t size, void* user) {
  board* b = user;
  const uint32_t address = (uint32_t)address64;
  if (__builtin_expect(b->shared.count >= b->rearm_at, 0)) {
    b->rearm_at = UINT64_MAX;
    b->shared.request |= REQUEST_REARM;
  }
  if (__builtin_expect(b->shared.request != 0, 0)) {
    uc_emu_stop(uc); /* before the block: it is neither run nor counted */
    return;
  }
  if (__builtin_expect(b->current && b->current->synchronises, 0)) synchronise(b);
  if (address - b->code.low < b->code.high - b->code.low && !may_run(b, address, size)) return;
  const uint32_t offset = address - b->flash_base;
  const slot* s;
  if (__builtin_expect(offset < b->flash_size, 1)) {
    slot* known = b->flash_slots[offset >> 1];
    if (__builtin_expect(!known || known->size != size, 0)) {
      if (!known) known = b->flash_slots[offset >> 1] = calloc(1, sizeof *known);
      analyse(b, known, b->flash_bytes + offset, address, size);
    }
    s = known;
  } else {
    s = ram_slot(b, address, size);
    if (!s) return;
  }
  b->current = s;
  if (__builtin_expect(s->absent != 0, 0)) {
    raise_fault(b, FAULT_UNDEFINED, address + s->absent - 1, 0, 0);
    return;
  }
  b->shared.count += s->cost.instructions;
  b->shared.cycles += s->cost.cycles;
  if (address != b->expected) {
    b->shared.cycles += COST_TAKEN;
  } else if (joined(b->last_load, s->cost.first_address)) {
    b->shared.cycles--;
  }
  b->expected = address + size;
  b->last_load = s->cost.last_target;
  if (__builtin_expect(b->tx_end != 0, 0) &&
      b->shared.count - b->sent_at > FLUSH_AFTER_INSTRUCTIONS) {
    flush(b);
  }
}

static uint32_t register_value(uc_engine* uc, uint32_t number) {
  static const int ids[16] = {UC_ARM_REG_R0,  UC_ARM_REG_R1, UC_ARM_REG_R2,  UC_ARM_REG_R3,
                              UC_ARM_REG_R4,  UC_ARM_REG_R5, UC_ARM_REG_R6,  UC_ARM_REG_R7,
                              UC_ARM_REG_R8,  UC_ARM_REG_R9, UC_ARM_REG_R10, UC_ARM_REG_R11,
                              UC_ARM_REG_R12, UC_ARM_REG_SP, UC_ARM_REG_LR,  UC_ARM_REG_PC};
  uint32_t value = 0;
  uc_reg_read(uc, ids[number & 15], &value);
  return value;
}

/* Strict mode: called before every instruction (not for those an IT block skips). */
static void on_code(uc_engine* uc, uint64_t address, uint32_t size, void* user) {
  board* b = user;
  const slot* s = b->current;
  (void)size;
  if (!s || !s->checks) return;
  const uint32_t offset = (uint32_t)address - s->address;
  if (offset >= s->size) return;
  const uint32_t check = s->checks[offset / 2];
  if (__builtin_expect(!check, 1)) return;
  if ((check & CHECK_FPU) && (b->cpacr >> 20 & 15) != 15) {
    raise_fault(b, FAULT_NO_FPU, (uint32_t)address, 0, 0);
    return;
  }
  if (!(check & (CHECK_ALIGNED | CHECK_DIVISOR))) return;
  const uint32_t value = register_value(uc, check & CHECK_REGISTER);
  if ((check & CHECK_ALIGNED) && (value & 3)) raise_fault(b, FAULT_MISALIGNED, value, 0, 0);
  if ((check & CHECK_DIVISOR) && !value) raise_fault(b, FAULT_DIVISION, 0, 0, 0);
}

/* Armv6-M in strict mode: no access may be misaligned. */
static void on_access(uc_engine* uc, uc_mem_type type, uint64_t address, int size, int64_t value,
                      void* user) {
  (void)uc;
  (void)type;
  (void)value;
  if (address & (uint64_t)(size - 1)) {
    raise_fault(user, FAULT_MISALIGNED, (uint32_t)address, (uint32_t)size, 0);
  }
}

static void on_guard(uc_engine* uc, uc_mem_type type, uint64_t address, int size, int64_t value,
                     void* user) {
  (void)uc;
  (void)value;
  raise_fault(user, FAULT_PROTECTION, (uint32_t)address, (uint32_t)size, type == UC_MEM_WRITE);
}

/* The interface of native.py. */
uint32_t tr_cost(uint32_t first, uint32_t second) { return cost(first, second); }
uint32_t tr_sizeof_shared(void) { return sizeof(tr_shared); }
tr_shared* tr_state(board* b) { return &b->shared; }

void tr_reset(board* b) {
  flush(b);
  b->rx_at = b->rx_end = 0; /* bytes in the receiver are lost, as on silicon */
  for (uint32_t i = 0; i < b->page_count; i++) {
    page* p = &b->pages[i];
    memset(p->word, 0, sizeof p->word);
    for (uint32_t w = 0; w < PAGE_WORDS; w++) {
      if (p->row[w] >= 0) p->word[w] = b->rows[p->row[w]].reset;
    }
  }
  const uint64_t count = b->shared.count, cycles = b->shared.cycles;
  const uint32_t mpu_v8 = b->shared.mpu_v8;
  memset(&b->shared, 0, sizeof b->shared);
  b->shared.count = count;
  b->shared.cycles = cycles;
  b->uart_rate = b->nrf_loaded = 0;
  b->shared.mpu_v8 = mpu_v8;
  b->systick_control = b->systick_reload = 0;
  b->uart_control = b->cpacr = b->dwt_control = b->demcr = b->timer_control = 0;
  b->expected = b->last_load = 0;
  b->cycles_run = 0;
  b->cycles_frozen = 0;
  b->idle_polls = 0;
  b->waits = b->waits_address = b->waits_value = 0;
  b->current = NULL;
  b->rearm_at = UINT64_MAX;
  if (b->code.high > b->code.low) { /* caches hold nothing after a reset */
    memcpy(b->code.stored, b->code.bytes, b->code.high - b->code.low);
    memcpy(b->code.fetched, b->code.bytes, b->code.high - b->code.low);
  }
}

/* Tell what depends on other registers; once. */
void tr_rules(board* b, const tr_rule* rules, uint32_t rule_count, const tr_condition* conditions,
              uint32_t condition_count, uint32_t uart_hz, uint32_t tick_cycles) {
  b->tick_cycles = tick_cycles;
  b->rules = malloc(sizeof *rules * (rule_count + 1));
  memcpy(b->rules, rules, sizeof *rules * rule_count);
  b->conditions = malloc(sizeof *conditions * (condition_count + 1));
  memcpy(b->conditions, conditions, sizeof *conditions * condition_count);
  b->rule_count = rule_count;
  b->uart_hz = uart_hz;
  for (uint32_t i = 0; i < rule_count; i++) {
    const int shows = rules[i].kind == RULE_SHOWS;
    if (!shows && rules[i].kind != RULE_NEEDS) continue;
    const uint32_t bytes = shows ? 4 : rules[i].size;
    for (uint32_t a = rules[i].base; a < rules[i].base + bytes; a += 4) {
      page* p = page_at(b, a);
      if (p) p->ruled[(a & 4095) >> 2] |= shows ? RULED_SHOWS : RULED_NEEDS;
    }
  }
}

/* Tell where executable RAM is; once. */
uc_err tr_code_ram(board* b, uint32_t low, uint32_t high, uint32_t cached) {
  for (uint32_t i = 0; i < b->span_count; i++) {
    const tr_span* span = &b->spans[i];
    if (low - span->base >= span->size || high - span->base > span->size) continue;
    const uint32_t size = high - low;
    b->code = (code_ram){low,
                         high,
                         cached,
                         span->bytes + (low - span->base),
                         malloc(size),
                         malloc(size),
                         calloc(size / LINE_BYTES + 2, 1)};
    memcpy(b->code.stored, b->code.bytes, size);
    memcpy(b->code.fetched, b->code.bytes, size);
    uc_hook hook;
    if (!b->strict) return UC_ERR_OK;
    return uc_hook_add(b->uc, &hook, UC_HOOK_MEM_WRITE, (void*)on_code_write, b, (uint64_t)low,
                       (uint64_t)high - 1);
  }
  return UC_ERR_ARG;
}

static page* page_at(board* b, uint32_t address) {
  for (uint32_t i = 0; i < b->page_count; i++) {
    if (b->pages[i].base == (address & ~4095u)) return &b->pages[i];
  }
  return NULL;
}

/* The stored word of a register, for tests and reports. */
uint32_t tr_peek(board* b, uint32_t address) {
  page* p = page_at(b, address);
  return p ? p->word[(address & 4095) >> 2] : 0;
}

/* The engine stopped before the instruction at pc and will go on there: do not count it twice. */
void tr_rewind(board* b, uint32_t pc) {
  const slot* s = b->current;
  if (!s || pc - s->address >= s->size) return;
  const uint8_t* code = s->bytes ? s->bytes : b->flash_bytes + (s->address - b->flash_base);
  const straight done = run_straight(code, pc - s->address);
  b->shared.count -= s->cost.instructions - done.instructions;
  b->shared.cycles -= s->cost.cycles - done.cycles;
  b->expected = pc;
  b->last_load = done.last_target;
}

void tr_rearm(board* b, uint64_t instructions) { b->rearm_at = b->shared.count + instructions; }

void tr_flush(board* b) { flush(b); }

uc_err tr_guard(board* b, uint32_t low, uint32_t high, int reads, int writes, size_t* handle) {
  const int kinds = (reads ? UC_HOOK_MEM_READ : 0) | (writes ? UC_HOOK_MEM_WRITE : 0);
  uc_hook hook = 0;
  const uc_err error =
      uc_hook_add(b->uc, &hook, kinds, (void*)on_guard, b, (uint64_t)low, (uint64_t)high - 1);
  *handle = hook;
  return error;
}
uc_err tr_unguard(board* b, size_t handle) { return uc_hook_del(b->uc, handle); }

static void lay_out(board* b, const uint32_t* pages, const tr_block* blocks, uint32_t block_count) {
  for (uint32_t i = 0; i < b->page_count; i++) {
    page* p = &b->pages[i];
    p->owner = b;
    p->base = pages[i];
    for (uint32_t w = 0; w < PAGE_WORDS; w++) {
      p->row[w] = -1;
      for (uint32_t k = 0; k < block_count; k++) {
        if (p->base + 4 * w - blocks[k].base < blocks[k].size) {
          p->covered[w] = blocks[k].open ? 2 : 1;
        }
      }
    }
  }
  for (uint32_t i = b->row_count; i-- > 0;) { /* backwards, so that a chain starts at its first */
    page* p = page_at(b, b->rows[i].address);
    if (!p) continue;
    int32_t* first = &p->row[(b->rows[i].address & 4095) >> 2];
    b->next[i] = *first;
    *first = (int32_t)i;
  }
}

board* tr_attach(uc_engine* uc, int fd, int strict, int clock, int level, const tr_row* rows,
                 uint32_t row_count, const tr_block* blocks, uint32_t block_count,
                 const uint32_t* pages, uint32_t page_count, const tr_span* spans,
                 uint32_t span_count, uc_err* error) {
  board* b = calloc(1, sizeof *b);
  b->uc = uc;
  b->fd = fd;
  b->strict = strict;
  b->clock = clock;
  b->level = (uint32_t)level;
  for (uint32_t i = 0; i < row_count; i++) b->shared.mpu_v8 |= rows[i].role == ROLE_MPU_LIMIT;
  b->rows = malloc(sizeof *rows * (row_count + 1));
  memcpy(b->rows, rows, sizeof *rows * row_count);
  b->next = malloc(sizeof *b->next * (row_count + 1));
  b->row_count = row_count;
  b->pages = calloc(page_count + 1, sizeof *b->pages);
  b->page_count = page_count;
  b->spans = malloc(sizeof *spans * (span_count + 1));
  memcpy(b->spans, spans, sizeof *spans * span_count);
  b->span_count = span_count;
  b->ram_slots = calloc(RAM_SLOTS, sizeof *b->ram_slots);
  for (uint32_t i = 0; i < span_count; i++) {
    if (!spans[i].is_flash) continue;
    b->flash_base = spans[i].base;
    b->flash_size = spans[i].size;
    b->flash_bytes = spans[i].bytes;
    b->flash_slots = calloc(spans[i].size / 2, sizeof *b->flash_slots);
  }
  lay_out(b, pages, blocks, block_count);
  tr_reset(b);
  uc_hook hook;
  *error = uc_hook_add(uc, &hook, UC_HOOK_BLOCK, (void*)on_block, b, (uint64_t)1, (uint64_t)0);
  if (*error == UC_ERR_OK && strict) {
    *error = uc_hook_add(uc, &hook, UC_HOOK_CODE, (void*)on_code, b, (uint64_t)1, (uint64_t)0);
  }
  if (*error == UC_ERR_OK && strict && b->level == LEVEL_ARMV6M) {
    *error = uc_hook_add(uc, &hook, UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, (void*)on_access, b,
                         (uint64_t)1, (uint64_t)0);
  }
  for (uint32_t i = 0; i < page_count && *error == UC_ERR_OK; i++) {
    *error = uc_mmio_map(uc, pages[i], 4096, on_read, &b->pages[i], on_write, &b->pages[i]);
  }
  return b;
}
