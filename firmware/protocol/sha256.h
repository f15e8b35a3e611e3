/* SHA-256 (FIPS 180-4) of bytes that lie in memory; 64 bytes of schedule on the stack. */
#ifndef TR_SHA256_H
#define TR_SHA256_H

#include <stdint.h>

namespace tr {

void sha256(const uint8_t* data, uint32_t bytes, uint8_t digest[32]);

}  // namespace tr
#endif
