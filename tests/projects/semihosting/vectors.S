/* A program that talks to QEMU through semihosting: the first stack pointer and the C library's
 * own start (rdimon). */
  .syntax unified
  .section .vectors, "a", %progbits
  .word stack_top
  .word _start
