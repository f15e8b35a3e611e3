/* startup.S: from reset to main() on any Armv6-M core, and what happens when the core faults.
 *
 * Section names are those of DDI0419, the Armv6-M Architecture Reference Manual. The linker script
 * (image.ld.j2) makes the symbols. Nothing touches the stack before its memory is initialised.
 */
  .syntax unified
  .thumb

/* The vector table: DDI0419, "The vector table". No interrupt is ever enabled. */
  .section .tr_vectors, "a", %progbits
  .align 8
  .global tr_vectors
tr_vectors:
  .word tr_stack_high
  .word Reset_Handler
  .word tr_fault_handler /* NMI */
  .word tr_fault_handler /* HardFault: every fault */
  .word 0, 0, 0, 0, 0, 0, 0
  .word tr_fault_handler /* SVCall */
  .word 0, 0
  .word tr_fault_handler /* PendSV */
  .word tr_fault_handler /* SysTick */

  .section .text.Reset_Handler, "ax", %progbits
  .align 2
  .global Reset_Handler
  .type Reset_Handler, %function
  .thumb_func
Reset_Handler:
  cpsid i /* no interrupt is used */

  /* MPU_CTRL: off, for a boot loader may have left regions that forbid what follows.
   * DDI0419, "MPU Control Register, MPU_CTRL". */
  ldr r0, =0xE000ED94
  movs r1, #0
  str r1, [r0]
  dsb
  isb

  /* VTOR: a debugger or boot loader may have started us with another table. A core without the
   * register ignores the write. DDI0419, "Vector Table Offset Register, VTOR". */
  ldr r0, =0xE000ED08
  ldr r1, =tr_vectors
  str r1, [r0]
  dsb
  isb

  /* Zero all RAM that the image uses: .bss, buffers, arena and stack. The table holds (start, end)
   * pairs, 8-byte aligned. */
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
  stmia r2!, {r0, r1}
  b 2b
4:

  /* Paint the stack (tr_port.h), so that its high-water mark can be read. */
  ldr r0, =tr_stack_low
  ldr r1, =tr_stack_high
  ldr r2, =0xC5C5C5C5
  mov r3, r2
5:
  cmp r0, r1
  bhs 6f
  stmia r0!, {r2, r3}
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
  ldmia r2!, {r4, r5}
  stmia r0!, {r4, r5}
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
 * could write it. Words: sp at entry (the frame), EXC_RETURN, xPSR (exception number); Armv6-M has
 * no fault status registers, so the rest stays zero. Without a debugger the breakpoint in a fault
 * handler locks the core up. */
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
