#include "crc32.h"

namespace tr {

static const uint32_t kTable[16] = {0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu,
                                    0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
                                    0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
                                    0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};

uint32_t crc32_byte(uint32_t running, uint8_t byte) {
  running ^= byte;
  running = (running >> 4) ^ kTable[running & 15u];
  return (running >> 4) ^ kTable[running & 15u];
}

uint32_t crc32_bytes(uint32_t running, const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) running = crc32_byte(running, data[i]);
  return running;
}

uint32_t crc32(const uint8_t* data, uint32_t bytes) { return ~crc32_bytes(kCrcStart, data, bytes); }

}  // namespace tr
