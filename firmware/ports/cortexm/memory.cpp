// memory.cpp: the four functions that GCC may call by itself in freestanding code (GCC manual,
// "Standards": memcpy, memmove, memset, memcmp), so that no C library is linked. Word accesses
// where both ends are aligned, bytes otherwise. Built with -fno-tree-loop-distribute-patterns, or
// GCC would turn the loops back into calls of themselves.
#include <stddef.h>
#include <stdint.h>

namespace {

typedef uint32_t __attribute__((may_alias)) Word;

bool aligned(const void* a, const void* b) {
  return ((reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) & 3u) == 0;
}

}  // namespace

extern "C" {

void* memcpy(void* to, const void* from, size_t bytes) {
  auto* d = static_cast<uint8_t*>(to);
  const auto* s = static_cast<const uint8_t*>(from);
  if (aligned(d, s)) {
    for (; bytes >= 4; bytes -= 4, d += 4, s += 4) {
      *reinterpret_cast<Word*>(d) = *reinterpret_cast<const Word*>(s);
    }
  }
  for (; bytes != 0; --bytes) *d++ = *s++;
  return to;
}

void* memmove(void* to, const void* from, size_t bytes) {
  auto* d = static_cast<uint8_t*>(to);
  const auto* s = static_cast<const uint8_t*>(from);
  if (reinterpret_cast<uintptr_t>(d) - reinterpret_cast<uintptr_t>(s) >= bytes) {
    return memcpy(to, from, bytes);
  }
  while (bytes != 0) {
    --bytes;
    d[bytes] = s[bytes];
  }
  return to;
}

void* memset(void* to, int value, size_t bytes) {
  auto* d = static_cast<uint8_t*>(to);
  const auto byte = static_cast<uint8_t>(value);
  if (aligned(d, d)) {
    const uint32_t word = byte * 0x01010101u;
    for (; bytes >= 4; bytes -= 4, d += 4) *reinterpret_cast<Word*>(d) = word;
  }
  for (; bytes != 0; --bytes) *d++ = byte;
  return to;
}

int memcmp(const void* a, const void* b, size_t bytes) {
  const auto* x = static_cast<const uint8_t*>(a);
  const auto* y = static_cast<const uint8_t*>(b);
  for (; bytes != 0; --bytes, ++x, ++y) {
    if (*x != *y) return *x < *y ? -1 : 1;
  }
  return 0;
}

}  // extern "C"
