/* startup.S: from reset to main() on any Cortex-M core, and what happens when the core faults.
 *
 * Section names are those of DDI0419 (Armv6-M), DDI0403 (Armv7-M) and DDI0553 (Armv8-M), the
 * Architecture Reference Manuals. An Armv8-M core stays in the state it boots in, Secure where there
 * is one. The linker script (image.ld.j2) makes the symbols. Nothing touches the stack before its memory is initialised:
 * a push is a plain word write, but a later byte write into a word whose ECC was never written
 * would read it first (RM0433, "Embedded SRAM", "Error code correction (ECC)").
 */
  .syntax unified
  .thumb

/* Two words at once, and on to the next two. Armv6-M has no LDRD and STRD. */
#ifdef __ARM_ARCH_6M__
  .macro store_pair first, second, at
  stmia \at!, {\first, \second}
  .endm
  .macro load_pair first, second, at
  ldmia \at!, {\first, \second}
  .endm
#else
  .macro store_pair first, second, at
  strd \first, \second, [\at], #8
  .endm
  .macro load_pair first, second, at
  ldrd \first, \second, [\at], #8
  .endm
#endif

/* The vector table: "The vector table" in each manual. An Armv6-M core has HardFault alone. No interrupt is ever enabled. */
  .section .tr_vectors, "a", %progbits
#ifdef __ARM_ARCH_6M__
  .align 8 /* DDI0419: what VTOR can say on a Cortex-M0+ */
#else
  .align 7
#endif
  .global tr_vectors
tr_vectors:
  .word tr_stack_high
  .word Reset_Handler
  .word tr_fault_handler /* NMI */
  .word tr_fault_handler /* HardFault */
#ifdef __ARM_ARCH_6M__
  .word 0, 0, 0, 0, 0, 0, 0
  .word tr_fault_handler /* SVCall */
  .word 0, 0
#else
  .word tr_fault_handler /* MemManage */
  .word tr_fault_handler /* BusFault */
  .word tr_fault_handler /* UsageFault */
  .word 0, 0, 0, 0
  .word tr_fault_handler /* SVCall */
  .word tr_fault_handler /* DebugMonitor */
  .word 0
#endif
  .word tr_fault_handler /* PendSV */
  .word tr_fault_handler /* SysTick */

  .section .text.Reset_Handler, "ax", %progbits
  .align 2
  .global Reset_Handler
  .type Reset_Handler, %function
  .thumb_func
Reset_Handler:
  /* No interrupt is used, and with PRIMASK set every fault arrives as one HardFault, so the
   * breakpoint in its handler cannot raise a second one that overwrites the record. */
  cpsid i

#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
  /* Below this the stack pointer cannot go: the stack guard. DDI0553, "Stack pointer limit". */
  ldr r0, =tr_stack_low
  msr msplim, r0
#endif

  /* MPU_CTRL: off, for a boot loader may have left regions that forbid what follows.
   * "MPU Control Register, MPU_CTRL" in each manual. */
  ldr r0, =0xE000ED94
  movs r1, #0
  str r1, [r0]
  dsb
  isb

  /* VTOR: a debugger or boot loader may have started us with another table. An Armv6-M core
   * without the register ignores the write. "Vector Table Offset Register, VTOR" in each manual. */
  ldr r0, =0xE000ED08
  ldr r1, =tr_vectors
  str r1, [r0]
#ifndef __ARM_ARCH_6M__

  /* CPACR: full access to the floating-point unit before any code may use it.
   * DDI0403, "Coprocessor Access Control Register, CPACR". */
  ldr r0, =0xE000ED88
  ldr r1, [r0]
  orr r1, r1, #(0xF << 20)
  str r1, [r0]
#endif
  dsb
  isb

  /* Zero all RAM that the image uses, in 64-bit writes: .bss, buffers, arena and stack, and the
   * ECC of each word becomes valid. The table holds (start, end) pairs, 8-byte aligned. */
  ldr r4, =tr_zero_table
  ldr r5, =tr_zero_table_end
  movs r0, #0
  movs r1, #0
1:
  cmp r4, r5
  bhs 4f
  ldmia r4!, {r2, r3}
2:
  cmp r2, r3
  bhs 1b
  store_pair r0, r1, r2
  b 2b
4:
#ifndef __ARM_ARCH_6M__
  dsb
#endif

  /* Paint the stack (tr_port.h), so that its high-water mark can be read. */
  ldr r0, =tr_stack_low
  ldr r1, =tr_stack_high
  ldr r2, =0xC5C5C5C5
  mov r3, r2
5:
  cmp r0, r1
  bhs 6f
  store_pair r2, r3, r0
  b 5b
6:
  mov sp, r1

  /* Copy .data from flash. */
  ldr r0, =tr_data_start
  ldr r1, =tr_data_end
  ldr r2, =tr_data_load
7:
  cmp r0, r1
  bhs 8f
  load_pair r4, r5, r2
  store_pair r4, r5, r0
  b 7b
8:
  dsb
  bl main
9:
  bkpt #2 /* main() does not return */
  b 9b
  .size Reset_Handler, . - Reset_Handler

/* A fault: leave what a debugger needs in tr_fault_record, then stop. The stack may be the very
 * thing that broke, so only registers are used; r0-r3 and r12 are in the stacked frame, if the core
 * could write it. Words: sp at entry (the frame), EXC_RETURN, xPSR (exception number), CFSR, HFSR,
 * MMFAR, BFAR (DDI0403, "Fault status and address registers"; Armv6-M has none of these, so they
 * stay zero there). Without a debugger the breakpoint
 * in a fault handler locks the core up, which QEMU reports. */
  .section .text.tr_fault_handler, "ax", %progbits
  .align 2
  .global tr_fault_handler
  .type tr_fault_handler, %function
  .thumb_func
tr_fault_handler:
  ldr r0, =tr_fault_record
  mov r1, sp
  mov r2, lr
  mrs r3, xpsr
  stmia r0!, {r1, r2, r3}
#ifndef __ARM_ARCH_6M__
  ldr r1, =0xE000ED28 /* CFSR, HFSR, (DFSR), MMFAR, BFAR */
  ldr r2, [r1, #0]
  ldr r3, [r1, #4]
  stmia r0!, {r2, r3}
  ldr r2, [r1, #12]
  ldr r3, [r1, #16]
  stmia r0!, {r2, r3}
#endif
  dsb
1:
  bkpt #1
  b 1b
  .size tr_fault_handler, . - tr_fault_handler

  .section .bss.tr_fault_record, "aw", %nobits
  .align 3
  .global tr_fault_record
  .type tr_fault_record, %object
tr_fault_record:
  .space 32
  .size tr_fault_record, 32
