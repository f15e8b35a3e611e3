/* CRC-32 (IEEE 802.3, reflected 0xEDB88320), byte by byte.
 *
 * Nibble table: 64 bytes of flash and about 10 instructions a byte; a byte table would take 1 KiB
 * to save half of them, which the link never notices.
 */
#ifndef TR_CRC32_H
#define TR_CRC32_H

#include <stdint.h>

namespace tr {

constexpr uint32_t kCrcStart = 0xFFFFFFFFu;
/* What the running value is after a message followed by its own CRC, low byte first. */
constexpr uint32_t kCrcResidue = 0xDEBB20E3u;

/* The running value after one more byte; the CRC itself is its complement. */
uint32_t crc32_byte(uint32_t running, uint8_t byte);

/* The running value after `bytes` more bytes. */
uint32_t crc32_bytes(uint32_t running, const uint8_t* data, uint32_t bytes);

/* CRC-32 of `bytes` bytes, complemented: what zlib.crc32 gives. */
uint32_t crc32(const uint8_t* data, uint32_t bytes);

}  // namespace tr
#endif
