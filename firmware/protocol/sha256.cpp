#include "sha256.h"

namespace tr {

/* FIPS 180-4, 4.2.2: first 32 bits of the fractional parts of the cube roots of 64 primes. */
static const uint32_t kRound[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u,
    0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu,
    0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu,
    0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau, 0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u,
    0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu,
    0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
    0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u, 0x19a4c116u,
    0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u,
    0xc67178f2u};

static uint32_t rotate_right(uint32_t x, unsigned bits) { return (x >> bits) | (x << (32 - bits)); }

/* FIPS 180-4, 6.2.2 with the message schedule kept in a ring of 16 words. */
static void compress(uint32_t state[8], const uint8_t* block) {
  uint32_t w[16];
  uint32_t v[8];
  for (unsigned i = 0; i < 8; ++i) v[i] = state[i];
  for (unsigned i = 0; i < 16; ++i) {
    const uint8_t* p = block + 4 * i;
    w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
  }
  for (unsigned i = 0; i < 64; ++i) {
    uint32_t& word = w[i & 15u];
    if (i >= 16) {
      const uint32_t a = w[(i + 1) & 15u];
      const uint32_t b = w[(i + 14) & 15u];
      const uint32_t s0 = rotate_right(a, 7) ^ rotate_right(a, 18) ^ (a >> 3);
      const uint32_t s1 = rotate_right(b, 17) ^ rotate_right(b, 19) ^ (b >> 10);
      word += s0 + w[(i + 9) & 15u] + s1;
    }
    const uint32_t sum1 = rotate_right(v[4], 6) ^ rotate_right(v[4], 11) ^ rotate_right(v[4], 25);
    const uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
    const uint32_t t1 = v[7] + sum1 + choose + kRound[i] + word;
    const uint32_t sum0 = rotate_right(v[0], 2) ^ rotate_right(v[0], 13) ^ rotate_right(v[0], 22);
    const uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
    for (unsigned j = 7; j > 0; --j) v[j] = v[j - 1];
    v[4] += t1;
    v[0] = t1 + sum0 + majority;
  }
  for (unsigned i = 0; i < 8; ++i) state[i] += v[i];
}

void sha256(const uint8_t* data, uint32_t bytes, uint8_t digest[32]) {
  uint32_t state[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                       0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
  uint32_t at = 0;
  for (; bytes - at >= 64; at += 64) compress(state, data + at);

  uint8_t tail[64];
  uint32_t used = 0;
  for (; at < bytes; ++at) tail[used++] = data[at];
  tail[used++] = 0x80;
  if (used > 56) {
    while (used < 64) tail[used++] = 0;
    compress(state, tail);
    used = 0;
  }
  while (used < 56) tail[used++] = 0;
  const uint64_t bits = (uint64_t)bytes * 8;
  for (unsigned i = 0; i < 8; ++i) tail[56 + i] = (uint8_t)(bits >> (56 - 8 * i));
  compress(state, tail);
  for (unsigned i = 0; i < 32; ++i) digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

}  // namespace tr
