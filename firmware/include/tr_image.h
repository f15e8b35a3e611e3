/* tr_image.h: what the build (toolchain/tinyrobust/image) knows and generates for one image, in
 * tr_image.cpp. app/ gives the arena to tr_init; ports name the board. */
#ifndef TR_IMAGE_H
#define TR_IMAGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The model's arena, in the memory that the plan chose, aligned as the model asks. */
extern uint8_t tr_arena[];
extern const uint32_t tr_arena_bytes;

/* The board's id and its serial port's highest rate, from the board file. */
extern const char tr_board_id[];
extern const uint32_t tr_board_baud_max;
/* Flash that the board file gives the image, a bootloader's part included. */
extern const uint32_t tr_board_flash_origin;
extern const uint32_t tr_board_flash_bytes;

/* Large static buffers (frames, batches): put where the board file allows `buffers`, and counted
 * under that name in the memory report. They are zero at start-up. */
#define TR_BUFFER __attribute__((section(".bss.tr_buffers"), aligned(8)))

#ifdef __cplusplus
}
#endif
#endif
