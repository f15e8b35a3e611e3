/* boot_block.S: the first 256 bytes of an RP2040's flash, its second-stage boot code.
 *
 * The boot ROM reads them with the slow commands that every serial flash knows, copies them to
 * 0x20041F00 and, when the last word is the CRC-32 of the 252 bytes before it, runs them there
 * (RP2040 datasheet, "Processor Controlled Boot Sequence", "Checksum"). They tell the SSI how to read
 * the flash for accesses of the processor, and go to the image behind them. The build computes the
 * CRC (toolchain/tinyrobust/image/boot_block.py); until then its word is erased flash.
 *
 * The read command is 03h, one bit at a time: any W25Q16JV knows it, whatever its QE bit says, and up
 * to 50 MHz (W25Q16JV data sheet, "Read Data (03h)" and "AC Electrical Characteristics", fR). At a
 * quarter of 133 MHz it runs at 33.25 MHz. Code that counts runs from RAM (image.ld.j2, .tr_hot).
 *
 * Section names in comments without a document are of the RP2040 datasheet.
 */
  .syntax unified
  .thumb
  .cpu cortex-m0plus

/* "SSI", "List of Registers" */
#define XIP_SSI 0x18000000
#define CTRLR0 0x00
#define CTRLR1 0x04
#define SSIENR 0x08
#define BAUDR 0x14
#define SPI_CTRLR0 0xF4
/* "XIP cache", "List of Registers": CTRL */
#define XIP_CTRL 0x14000000
/* "Cortex-M0+", "List of Registers": VTOR */
#define VTOR 0xE000ED08

#define CLOCK_DIVIDER 4 /* even */
/* CTRLR0: DFS_32 = 31 (32 bits a frame), TMOD = 3 (EEPROM read: command and address, then data),
 * SPI_FRF = 0 (one bit) */
#define FRAMES (31 << 16 | 3 << 8)
/* SPI_CTRLR0: XIP_CMD = 03h, INST_L = 2 (8 bits), ADDR_L = 6 (24 bits, in fours), no wait cycles,
 * TRANS_TYPE = 0 (command and address one bit at a time) */
#define READ_COMMAND (0x03 << 24 | 2 << 8 | 6 << 2)

  .section .tr_boot, "ax", %progbits
  .align 8
  .global tr_boot_block
  .type tr_boot_block, %function
  .thumb_func
tr_boot_block:
  ldr r3, =XIP_SSI
  movs r0, #0
  str r0, [r3, #SSIENR] /* settings may change only while it is off */
  movs r1, #CLOCK_DIVIDER
  str r1, [r3, #BAUDR]
  ldr r1, =FRAMES
  str r1, [r3, #CTRLR0]
  str r0, [r3, #CTRLR1] /* one frame */
  ldr r1, =READ_COMMAND
  movs r2, #SPI_CTRLR0
  str r1, [r3, r2]
  movs r0, #1
  str r0, [r3, #SSIENR]
  /* CTRL: EN, ERR_BADWRITE */
  ldr r1, =XIP_CTRL
  movs r0, #3
  str r0, [r1]

  /* The flash can be read from here on: do what the processor does at reset with its table. */
  ldr r0, =tr_vectors
  ldr r1, =VTOR
  str r0, [r1]
  ldmia r0!, {r1, r2}
  msr msp, r1
  bx r2
  .ltorg
  .size tr_boot_block, . - tr_boot_block

  .org 252, 0
tr_boot_crc:
  .word 0xFFFFFFFF
