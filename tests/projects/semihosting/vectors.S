/* A program that talks to QEMU through semihosting: the first stack pointer and the C library's
 * own start (rdimon). */
  .syntax unified
  .section .vectors, "a", %progbits
  .word 0x20400000
  .word _start
