/* conv2d_tg_u8: the generator's inner loops; generate.hpp declares them and says what they write.
 *
 * A list's head and every `next` hold the number of inputs left in the high half and the low half
 * of an address in the low half: that of the node behind, because nodes are written in order. The
 * high half of the address is heads[81]: no table of nodes lies across 64 Kbytes.
 */
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP && !defined(TR_PORTABLE)
  .syntax unified
  .thumb

  /* One input, node pointer r3, in front of the list of its code \c. */
  .macro INSERT c
  ldr lr, [r2, \c, lsl #2]
  str lr, [r3], #8
  add lr, lr, #0x10000
  pkhbt lr, r3, lr
  str lr, [r2, \c, lsl #2]
  .endm

  .section .text.tr_tg_sort, "ax", %progbits
  .align 2
  .global tr_tg_sort
  .type tr_tg_sort, %function
  .thumb_func
tr_tg_sort: /* r0 codes, r1 count, r2 heads, r3 nodes */
  push {r4, r5, r6, r7, lr}
  movs r4, #0
  movs r5, #0
  movs r6, #0
  movs r7, #0
  mov r12, r2
  .rept 20
  stmia r12!, {r4, r5, r6, r7}
  .endr
  str r4, [r12], #4
  lsrs r5, r3, #16
  lsls r5, r5, #16
  str r5, [r12]
  add r1, r1, r0
1:
  ldr r4, [r0], #4
  uxtb r5, r4
  INSERT r5
  ubfx r5, r4, #8, #8
  INSERT r5
  ubfx r5, r4, #16, #8
  INSERT r5
  lsrs r5, r4, #24
  INSERT r5
  cmp r0, r1
  blo 1b
  pop {r4, r5, r6, r7, pc}
  .size tr_tg_sort, . - tr_tg_sort

  /* The load of the next input of list \h, taken off it. */
  .macro NEXT d, h
  uxtah \d, r12, \h
  ldrd \h, \d, [\d, #-8]
  .endm

  /* Loads of a pair from two lists: into r11 or (odd) r12, and lr. */
  .macro PAIR h, k, odd
  NEXT r1, \h
  NEXT r2, \k
  .if \odd
  add r1, r1, #0x10000000
  .endif
  add r2, r2, #0x30000000
  .endm

  .section .text.tr_tg_leaf, "ax", %progbits
  .align 2
  .global tr_tg_leaf
  .type tr_tg_leaf, %function
  .thumb_func
tr_tg_leaf: /* r0 at, r1 code, r2 table, r3 heads */
  push {r4-r11, lr}
  ldr r9, [r3, r1, lsl #2]
  rsb r4, r1, #80
  ldr r10, [r3, r4, lsl #2]
  ldr r12, [r3, #324]
  mov lr, r2
  mov r11, #1
  lsrs r1, r9, #16
  cmp r1, r10, lsr #16
  bhs 1f
  mov r1, r9 /* the longer list is added, the other subtracted */
  mov r9, r10
  mov r10, r1
  mov r11, #-1
1:
  ldrd r5, r6, [lr, #48] /* USUB8 */
  ldrd r7, r8, [lr, #56] /* UADD8 */
  cmp r10, #0x10000
  blo 5f
  PAIR r9, r10, 0
  stmia r0!, {r1, r2, r5}
  ldrd r3, r4, [lr, #0]
  cmp r10, #0x10000
  blo 3f
2: /* r3, r4: the additions of the pair before */
  PAIR r9, r10, 1
  stmia r0!, {r1, r2, r3, r4, r6}
  ldrd r3, r4, [lr, #16]
  cmp r10, #0x10000
  blo 4f
  PAIR r9, r10, 0
  stmia r0!, {r1, r2, r3, r4, r5}
  ldrd r3, r4, [lr, #8]
  cmp r10, #0x10000
  bhs 2b
3:
  cmp r9, #0x20000
  blo 7f
  PAIR r9, r9, 1
  stmia r0!, {r1, r2, r3, r4, r8}
  ldrd r3, r4, [lr, #40]
4:
  cmp r9, #0x20000
  blo 6f
  PAIR r9, r9, 0
  stmia r0!, {r1, r2, r3, r4, r7}
  ldrd r3, r4, [lr, #32]
  b 3b
5: /* nothing to subtract */
  cmp r9, #0x20000
  blo 9f
  PAIR r9, r9, 0
  stmia r0!, {r1, r2, r7}
  ldrd r3, r4, [lr, #24]
  b 3b
6:
  cmp r9, #0x10000
  blo 8f
  NEXT r1, r9
  stmia r0!, {r1, r3, r4}
  ldrd r3, r4, [lr, #32]
  stmia r0!, {r3, r4}
  mov r1, r11
  pop {r4-r11, pc}
7:
  cmp r9, #0x10000
  blo 8f
  NEXT r1, r9
  add r1, r1, #0x10000000
  stmia r0!, {r1, r3, r4}
  ldrd r3, r4, [lr, #40]
8:
  stmia r0!, {r3, r4}
  mov r1, r11
  pop {r4-r11, pc}
9:
  movs r1, #0
  cmp r9, #0x10000
  it lo
  poplo {r4-r11, pc}
  NEXT r1, r9
  ldrd r3, r4, [lr, #24]
  stmia r0!, {r1, r3, r4}
  mov r1, r11
  pop {r4-r11, pc}
  .size tr_tg_leaf, . - tr_tg_leaf

  .section .text.tr_tg_run, "ax", %progbits
  .align 2
  .global tr_tg_run
  .type tr_tg_run, %function
  .thumb_func
tr_tg_run: /* r0 frame, r1 first window; the code returns to the caller */
  push {r4-r11, lr}
  sub sp, sp, #60
  add lr, sp, #16
  ldmia r0, {r3-r12}
  stmia lr, {r3-r12}
  mov r0, r1
  bx r6 /* Frame::code */
  .size tr_tg_run, . - tr_tg_run
#endif
