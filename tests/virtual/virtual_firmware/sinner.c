/* Firmware for the tests of virtual nucleo-h743 boards: one byte is one command, see serve(). */
#include <stdint.h>

#define REG(address) (*(volatile uint32_t*)(uintptr_t)(address))
#define USART3 0x40004800u
#define AXI 0x24000000u
#define GUARD 0x20000000u

extern uint32_t stack_top[];
void Reset_Handler(void);
__attribute__((section(".vectors"), used)) void* const vectors[16] = {stack_top,
                                                                      (void*)Reset_Handler};

static void send(uint8_t byte) {
  while (!(REG(USART3 + 0x1C) & 0x80)) {
  }
  REG(USART3 + 0x28) = byte;
}
static void send32(uint32_t value) {
  for (int i = 0; i < 4; i++) send((uint8_t)(value >> 8 * i));
}
static uint8_t receive(void) {
  while (!(REG(USART3 + 0x1C) & 0x20)) {
  }
  return (uint8_t)REG(USART3 + 0x24);
}

__attribute__((noinline)) static uint32_t now(void) { return REG(0xE0001004); }

__attribute__((noinline)) uint32_t work(uint32_t rounds) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < rounds; i++) sum = sum * 31 + (i ^ sum >> 3);
  return sum;
}

static void region(uint32_t number, uint32_t base, uint32_t log2, uint32_t attributes) {
  REG(0xE000ED98) = number;
  REG(0xE000ED9C) = base;
  REG(0xE000EDA0) = attributes | (log2 - 1) << 1 | 1;
  __asm volatile("dsb\n isb");
}

__attribute__((noinline)) uint32_t deep(uint32_t n) {
  volatile uint32_t here[8];
  here[0] = n;
  return n == 0 ? here[0] : deep(n - 1) + here[0];
}

/* Writes code to RAM and calls it; the counts of the calls tell what was run. */
static uint32_t call(const uint16_t* code, uint32_t halves) {
  volatile uint16_t* at = (volatile uint16_t*)AXI;
  for (uint32_t i = 0; i < halves; i++) at[i] = code[i];
  __asm volatile("dsb\n isb");
  const uint32_t before = now();
  ((void (*)(void))(AXI | 1))();
  return now() - before;
}

__attribute__((noinline)) static void generated(void) {
  static const uint16_t narrow[] = {0xBF00, 0xBF00, 0x4770}; /* nop; nop; bx lr */
  static const uint16_t wide[] = {0xF3AF, 0x8000, 0x4770};   /* nop.w; bx lr */
  send32(call(narrow, 3));
  send32(call(wide, 3));
  send32(call(narrow, 3));
}

__attribute__((noinline)) static void sin(uint8_t which) {
  switch (which) {
    case 'A':
      (void)REG(0x60000000);
      break;
    case 'B':
      REG(0x08000100) = 1;
      break;
    case 'C':
      (void)deep(100000);
      break;
    case 'D':
      REG(GUARD + 4) = 1;
      break;
    case 'E':
      __asm volatile("bkpt 3");
      break;
    case 'F':
      __asm volatile("udf 3");
      break;
    case 'G':
      __asm volatile("svc 3");
      break;
    case 'H':
      ((void (*)(void))0x60000001)();
      break;
    case 'I':
      REG(0x40010000) = 1;
      break;
    case 'J':
      REG(0x40004400) = 1;
      break;
    case 'K':
      REG(0xE000ED88) = 0;
      __asm volatile("vmov.f32 s0, #1.0" ::: "s0");
      REG(0xE000ED88) |= 0xFu << 20; /* where that went well, sending wants it */
      break;
    case 'L':
      __asm volatile("ldrd r2, r3, [%0]" ::"r"(AXI + 2) : "r2", "r3");
      break;
    case 'M':
      __asm volatile("ldmia %0, {r2, r3}" ::"r"(AXI + 1) : "r2", "r3");
      break;
    case 'N':
      __asm volatile("stm.w %0, {r8, r9}" ::"r"(AXI + 2) : "memory");
      break;
    case 'O':
      __asm volatile("udiv r2, %0, %1" ::"r"(7), "r"(0) : "r2");
      break;
    case 'P':
      __asm volatile("sdiv r2, %0, %1" ::"r"(7), "r"(0) : "r2");
      break;
    case 'Q':
      generated();
      break;
    case 'R':
      (void)REG(0x58024400 + 0x200);
      break;
    case 'S':
      region(2, AXI, 10, 6u << 24);
      REG(AXI + 4) = 1;
      break;
    case 'T':
      region(2, AXI, 10, 1u << 28 | 3u << 24);
      generated();
      break;
    case 'U':
      __asm volatile("vldr s0, [%0]" ::"r"(AXI + 2) : "s0");
      break;
    default:
      break;
  }
}

/* Everything that the sins do wrong, done right. */
__attribute__((noinline)) static void virtue(void) {
  REG(AXI) = 5;
  REG(AXI + 4) = 6;
  __asm volatile("ldrd r2, r3, [%0]\n ldmia %0, {r2, r3}\n stm.w %0, {r8, r9}" ::"r"(AXI)
                 : "r2", "r3", "memory");
  __asm volatile("ldr r2, [%0]" ::"r"(AXI + 1) : "r2"); /* a plain LDR may be unaligned */
  __asm volatile("udiv r2, %0, %1\n sdiv r2, %0, %1" ::"r"(7), "r"(2) : "r2");
  __asm volatile("cmp %0, #0\n it ne\n udivne r2, %0, %0" ::"r"(0) : "r2", "cc");
  __asm volatile("vmov.f32 s0, #1.0\n vadd.f32 s0, s0, s0\n vldr s1, [%0]" ::"r"(AXI) : "s0", "s1");
  (void)deep(20);
  send(*(volatile uint8_t*)(GUARD + 32)); /* just above the guard */
}

static void serve(void) {
  const uint8_t command = receive();
  if (command == 'e') {
    const uint8_t n = receive();
    for (uint8_t i = 0; i < n; i++) send((uint8_t)(receive() + 1));
  } else if (command == 'w') { /* work: its value and its instructions */
    const uint32_t rounds = receive() * 1000u;
    const uint32_t before = now();
    const uint32_t value = work(rounds);
    send32(now() - before);
    send32(value);
  } else if (command == 'i') { /* identity: IDCODE, unique id */
    send32(REG(0x5C001000));
    for (uint32_t i = 0; i < 12; i++) send(*(volatile uint8_t*)(0x1FF1E800u + i));
  } else if (command == 'm') { /* RAM at power-on, and a byte kept over a reset */
    send32(REG(AXI + 0x1000));
    REG(AXI + 0x1000) = 0x12345678;
  } else if (command == 'v') {
    virtue();
    send('k');
  } else if (command == 'r') {
    REG(0xE000ED0C) = 0x05FA0004;
    for (;;) {
    }
  } else {
    sin(command);
    send('k');
  }
}

void Reset_Handler(void) {
  REG(0xE000ED88) |= 0xFu << 20; /* CPACR: FPU */
  __asm volatile("dsb\n isb");
  region(1, GUARD, 5, 1u << 28); /* 32 bytes without any rights */
  REG(0xE000ED94) = 5;           /* MPU on, default map elsewhere */
  __asm volatile("dsb\n isb");
  REG(0xE000EDFC) = 1u << 24;
  REG(0xE0001004) = 0;
  REG(0xE0001000) |= 1;
  REG(0xE000ED08) = 0x08000000;  /* VTOR */
  REG(0xE000ED88) |= 0xFu << 20; /* CPACR: FPU */
  REG(0x580244E0) = 1u << 3;     /* RCC_AHB4ENR: GPIOD */
  REG(0x580244E8) = 1u << 18;    /* RCC_APB1LENR: USART3 */
  REG(0x58020C24) = 0x77;        /* GPIOD_AFRH: AF7 on PD8 and PD9 */
  REG(0x58020C00) = 0xFFFAFFFFu; /* GPIOD_MODER: alternate function */
  REG(USART3) = 0xD;             /* UE, RE, TE */
  while ((REG(USART3 + 0x1C) & 3u << 21) != 3u << 21) {
  }
  send('!');
  for (;;) serve();
}
