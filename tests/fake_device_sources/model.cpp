/* A small model for tests of the link: every input byte matters, each step overwrites what an
 * earlier one needs, so an input that is incomplete, stale or used twice gives other scores.
 * tests/fake_device.py computes the same in numpy. */
#include "tinyrobust.h"
#include "tr_image.h"

static const uint32_t kInputBytes = 3072; /* 32 x 32 x 3 */
static const uint32_t kPixels = 1024;     /* bytes are combined by threes */
static const uint32_t kWide = 0;
static const uint32_t kScores = kWide + 2 * kPixels;
/* The input ends the arena, so that a byte too many is found by ASan. */
static const uint32_t kInput = kScores + 4 * 10;
static const uint32_t kArena = kInput + kInputBytes;

static int16_t* wide(uint8_t* arena) { return (int16_t*)(void*)(arena + kWide); }

static void mix(uint8_t* arena) {
  uint8_t* const input = arena + kInput;
  for (uint32_t i = 0; i < kInputBytes; ++i) input[i] = (uint8_t)(input[i] * 5u + i);
}

static void sum(uint8_t* arena) {
  for (uint32_t i = 0; i < kPixels; ++i) {
    const uint8_t* const pixel = arena + kInput + 3 * i;
    const int total = pixel[0] + pixel[1] + pixel[2];
    wide(arena)[i] = (int16_t)(total - 384);
  }
}

static void narrow(uint8_t* arena) {
  for (uint32_t i = 0; i < kPixels; ++i) arena[kInput + i] = (uint8_t)(wide(arena)[i] >> 4);
}

static void score(uint8_t* arena) {
  int32_t* const scores = (int32_t*)(void*)(arena + kScores);
  for (uint32_t k = 0; k < 10; ++k) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < kPixels; ++i) {
      const int32_t weight = (int32_t)((i * 7 + k * 13) % 31) - 15;
      total += (uint32_t)(wide(arena)[i] * weight * (int32_t)(i + 1));
      total += (uint32_t)((int8_t)arena[kInput + i] * (int32_t)(k + 1));
    }
    scores[k] = (int32_t)total;
  }
}

static const tr_step kSteps[] = {
    {"mix", "test_u8", mix, 3072, kInput, kInputBytes, 0},
    {"sum", "test_i16", sum, 3072, kWide, kPixels, 2},
    {"narrow", "test_i8", narrow, 1024, kInput, kPixels, 1},
    {"score", "test_i32", score, 20480, kScores, 10, 3},
};

static const tr_tensor kInputs[] = {{"image", kInput, kInputBytes, {32, 32, 3}, 0, 1.0f, 0, 3}};
static const tr_tensor kOutputs[] = {{"scores", kScores, 10, {10, 0, 0}, 0, 8.0f, 3, 1}};

extern "C" {
const tr_model_t tr_model = {"fake",
                             {0xAB, 0xCD, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 255, 254},
                             1,
                             1,
                             0,
                             4,
                             kInputs,
                             kOutputs,
                             nullptr,
                             kSteps,
                             kInputBytes,
                             40,
                             0,
                             kArena,
                             8};
alignas(8) uint8_t tr_arena[kArena];
extern const uint32_t tr_arena_bytes = kArena;
extern const char tr_board_id[] = "fake-board";
extern const uint32_t tr_board_baud_max = 2000000;
}
