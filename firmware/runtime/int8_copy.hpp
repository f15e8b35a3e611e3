// Copies of parts of int8 tensors.
#ifndef TR_RUNTIME_INT8_COPY_HPP
#define TR_RUNTIME_INT8_COPY_HPP

#include "runtime/int8.hpp"

namespace tr {

// `bytes` bytes from one place to another; returns the end of what was written.
TR_INLINE uint8_t* copy_bytes(const uint8_t* from, uint8_t* to, size_t bytes) {
  if (words_between(from, to)) {
#if TR_ALIGNED_ONLY
    for (; bytes >= 4; bytes -= 4, from += 4, to += 4) store4_aligned(to, load4_aligned(from));
#else
    for (; bytes >= 4; bytes -= 4, from += 4, to += 4) store4(to, load4(from));
#endif
  }
  for (; bytes != 0; --bytes) *to++ = *from++;
  return to;
}

TR_INLINE void fill_bytes(uint8_t* to, int8_t value, size_t bytes) {
  const uint32_t word = static_cast<uint8_t>(value) * 0x01010101u;
#if TR_ALIGNED_ONLY
  for (; bytes != 0 && !words_between(to, to); --bytes) *to++ = static_cast<uint8_t>(word);
  for (; bytes >= 4; bytes -= 4, to += 4) store4_aligned(to, word);
#else
  for (; bytes >= 4; bytes -= 4, to += 4) store4(to, word);
#endif
  for (; bytes != 0; --bytes) *to++ = static_cast<uint8_t>(word);
}

// Rows whose elements lie one after the other on both sides are copied by words.
inline void copy_i8(const CopyI8& layer, const Buffers& at) {
  fill_bytes(at.out, layer.value, layer.fill);
  const uint8_t* from0 = at.in + layer.from;
  uint8_t* to0 = at.out + layer.to;
  const bool dense = layer.from_step[2] == 1 && layer.to_step[2] == 1;
  for (uint32_t i = layer.size[0]; i != 0; --i) {
    const uint8_t* from1 = from0;
    uint8_t* to1 = to0;
    for (uint32_t j = layer.size[1]; j != 0; --j) {
      if (dense) {
        copy_bytes(from1, to1, layer.size[2]);
      } else {
        const uint8_t* from = from1;
        uint8_t* to = to1;
        for (uint32_t k = layer.size[2]; k != 0; --k) {
          *to = *from;
          from += layer.from_step[2];
          to += layer.to_step[2];
        }
      }
      from1 += layer.from_step[1];
      to1 += layer.to_step[1];
    }
    from0 += layer.from_step[0];
    to0 += layer.to_step[0];
  }
}

}  // namespace tr

#endif
