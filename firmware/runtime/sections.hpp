// Where generated constants go, so that the linker script and the size report can tell
// them apart (.sbss: not initialised, as .bss, whose name would match more). (A
// position-independent host library needs constants with addresses elsewhere.)
#ifndef TR_RUNTIME_SECTIONS_HPP
#define TR_RUNTIME_SECTIONS_HPP

#if defined(__arm__)
#define TR_WEIGHTS __attribute__((section(".rodata.tr_weights"), aligned(4)))
#define TR_TABLES __attribute__((section(".rodata.tr_tables"), aligned(4)))
#define TR_CODE_RAM __attribute__((section(".sbss.tr_code_ram"), aligned(8)))
#else
#define TR_WEIGHTS
#define TR_TABLES
#define TR_CODE_RAM
#endif

#endif
