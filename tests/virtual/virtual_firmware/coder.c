/* Firmware that writes code into RAM (at CODE) and runs it, for the tests of virtual nucleo-h743
 * boards: every byte received is one step, see serve(). */
#include <stdint.h>

#define REG(address) (*(volatile uint32_t*)(uintptr_t)(address))
#define USART3 0x40004800u

extern uint32_t stack_top[];
void Reset_Handler(void);
__attribute__((section(".vectors"), used)) void* const vectors[16] = {stack_top,
                                                                      (void*)Reset_Handler};

static void send(uint8_t byte) {
  while (!(REG(USART3 + 0x1C) & 0x80)) {
  }
  REG(USART3 + 0x28) = byte;
}
static uint8_t receive(void) {
  while (!(REG(USART3 + 0x1C) & 0x20)) {
  }
  return (uint8_t)REG(USART3 + 0x24);
}

static void write_code(uint16_t value) { /* movs r0, #value; bx lr */
  *(volatile uint32_t*)(CODE + 64) = 0x47702000u | value;
}

static void region(uint32_t attributes) { /* 1 KiB from CODE on */
  REG(0xE000ED98) = 3;
  REG(0xE000ED9C) = CODE;
  REG(0xE000EDA0) = attributes | 9 << 1 | 1;
}

static void serve(uint8_t step) {
  switch (step) {
    case 'n':
      send('k');
      break;
    case '0' ... '9':
      write_code(step);
      break;
    case 'b':
      __asm volatile("dsb\n isb" ::: "memory");
      break;
    case 'i':
      __asm volatile("isb" ::: "memory");
      break;
    case 'c': /* clean the data cache there */
      REG(0xE000EF64) = CODE + 64;
      break;
    case 's': /* clean it by set and way */
      REG(0xE000EF6C) = 0;
      break;
    case 'x': /* invalidate the instruction cache there */
      REG(0xE000EF58) = CODE + 64;
      break;
    case 'y': /* all of it */
      REG(0xE000EF50) = 0;
      break;
    case 'D': /* caches on */
      REG(0xE000ED14) |= 3u << 16;
      __asm volatile("dsb\n isb" ::: "memory");
      break;
    case 'W': /* writable, execute-never */
      region(3u << 24 | 1u << 28);
      break;
    case 'R': /* read-only, executable */
      region(6u << 24);
      break;
    case 'M':
      REG(0xE000ED94) = 5;
      __asm volatile("dsb\n isb" ::: "memory");
      break;
    case 'j':
      send(((uint8_t(*)(void))((CODE + 64) | 1))());
      break;
    default:
      break;
  }
}

void Reset_Handler(void) {
  REG(0xE000ED08) = 0x08000000;  /* VTOR */
  REG(0xE000ED88) |= 0xFu << 20; /* CPACR: FPU */
  REG(0x580244E0) = 1u << 3;     /* RCC_AHB4ENR: GPIOD */
  REG(0x580244E8) = 1u << 18;    /* RCC_APB1LENR: USART3 */
  REG(0x58020C24) = 0x77;        /* GPIOD_AFRH: AF7 on PD8 and PD9 */
  REG(0x58020C00) = 0xFFFAFFFFu; /* GPIOD_MODER: alternate function */
  REG(USART3) = 1u << 29 | 1u << 3 | 1u << 2 | 1u;
  for (;;) serve(receive());
}
