/* Firmware for the tests of QEMU boards: one byte is one command, see serve(). */
#include <stdint.h>

#define REG(address) (*(volatile uint32_t*)(uintptr_t)(address))
#define UART 0x40004000u
#define TIMER 0x40000000u

extern uint32_t stack_top[];
void Reset_Handler(void);
static void fault(void) {
  for (;;) {
  }
}
__attribute__((section(".vectors"), used)) void* const vectors[16] = {stack_top,
                                                                      (void*)Reset_Handler,
                                                                      (void*)fault,
                                                                      (void*)fault,
                                                                      (void*)fault,
                                                                      (void*)fault,
                                                                      (void*)fault,
                                                                      0,
                                                                      0,
                                                                      0,
                                                                      0,
                                                                      (void*)fault};

static void send(uint8_t byte) {
  while (REG(UART + 4) & 1) {
  }
  REG(UART) = byte;
}
static uint8_t receive(void) {
  while (!(REG(UART + 4) & 2)) {
  }
  return (uint8_t)REG(UART);
}

__attribute__((noinline)) uint32_t work(uint32_t rounds) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < rounds; i++) sum = sum * 31 + (i ^ sum >> 3);
  return sum;
}

__attribute__((noinline)) static void sin(uint8_t which) {
  switch (which) {
    case 'E':
      __asm volatile("bkpt 3");
      break;
    case 'F':
      __asm volatile("udf 3");
      break;
    case 'G':
      __asm volatile("svc 3");
      break;
    case 'K':
      REG(0xE000ED88) = 0;
      __asm volatile("dsb\n isb\n vmov.f32 s0, #1.0" ::: "s0");
      break;
    case 'L':
      __asm volatile("ldrd r2, r3, [%0]" ::"r"(0x20000002) : "r2", "r3");
      break;
    case 'O':
      __asm volatile("udiv r2, %0, %1" ::"r"(7), "r"(0) : "r2");
      break;
    case 'S':
      REG(0x20000010) = 1;
      break;
    default:
      break;
  }
}

static void serve(void) {
  const uint8_t command = receive();
  if (command == 'e') {
    const uint8_t n = receive();
    for (uint8_t i = 0; i < n; i++) send((uint8_t)(receive() + 1));
  } else if (command == 'w') {
    const uint32_t rounds = receive() * 1000u;
    const uint32_t before = REG(TIMER + 4);
    const uint32_t value = work(rounds);
    const uint32_t ticks = before - REG(TIMER + 4);
    for (int i = 0; i < 4; i++) send((uint8_t)(ticks >> 8 * i));
    for (int i = 0; i < 4; i++) send((uint8_t)(value >> 8 * i));
  } else {
    sin(command);
    send('k');
  }
}

void Reset_Handler(void) {
  REG(0xE000ED88) |= 0xFu << 20;
  REG(0xE000ED24) = 7u << 16; /* SHCSR: MemManage, BusFault, UsageFault */
  REG(0xE000ED14) |= 1u << 4; /* CCR.DIV_0_TRP */
  REG(0xE000ED98) = 1;        /* MPU: 32 bytes at the bottom without any rights */
  REG(0xE000ED9C) = 0x20000000u;
  REG(0xE000EDA0) = 1u << 28 | 4u << 1 | 1;
  REG(0xE000ED94) = 5;
  __asm volatile("dsb\n isb");
  REG(TIMER + 8) = 0xFFFFFFFF;
  REG(TIMER + 4) = 0xFFFFFFFF;
  REG(TIMER) = 1;
  REG(UART + 0x10) = 217;
  REG(UART + 8) = 3;
  for (;;) serve();
}
