/* framing.h: bytes in, checked frames out, and the way back. Layout: PROTOCOL.md, "Frame". */
#ifndef TR_FRAMING_H
#define TR_FRAMING_H

#include <stdint.h>

#include "wire.h"

namespace tr {

constexpr uint32_t kMaxFrame = TR_WIRE_HEADER_BYTES + TR_WIRE_MAX_PAYLOAD + TR_WIRE_CRC_BYTES;
/* COBS adds one byte, and one more per 254; then there is a zero byte at either end. */
constexpr uint32_t kCobsExtra = 1 + kMaxFrame / 254;

inline uint16_t get16(const uint8_t* p) { return (uint16_t)(p[0] | p[1] << 8); }
inline uint32_t get32(const uint8_t* p) { return get16(p) | (uint32_t)get16(p + 2) << 16; }

struct Header {
  uint8_t version;
  uint8_t type;
  uint16_t sequence;
  uint32_t session;
  uint16_t length;
};

/* Undoes COBS as bytes come and runs the CRC along, so that no long work falls on a frame's end
 * while the next one is already arriving. */
class Receiver {
 public:
  enum class Event { none, frame, crc_error, overflow, malformed };

  /* Before the first byte (there is no constructor: the object lies in zeroed memory). */
  void restart();

  /* Event::frame: header() and payload() are valid until the next feed(). */
  Event feed(uint8_t byte);

  Header header() const;
  const uint8_t* payload() const { return frame_ + TR_WIRE_HEADER_BYTES; }

 private:
  Event finish();
  void push(uint8_t byte);

  uint8_t frame_[kMaxFrame];
  bool overflow_;
  uint32_t count_;
  uint32_t crc_;
  uint8_t code_; /* COBS code of the running block; 0 before the first */
  uint8_t left_; /* bytes of the running block still to come */
};

/* Holds one outgoing frame: the payload is written in place, seal() encodes it where it lies.
 * The sealed frame stays until the next begin(), so it can be sent again. */
class Sender {
 public:
  void begin(uint8_t type, uint16_t sequence, uint32_t session);
  void put8(uint8_t value);
  void put16(uint16_t value);
  void put32(uint32_t value);
  void put_bytes(const uint8_t* data, uint32_t bytes);
  /* One length byte, then at most TR_WIRE_MAX_NAME characters. */
  void put_name(const char* text);
  uint32_t room() const { return TR_WIRE_MAX_PAYLOAD - length_; }

  void seal();
  const uint8_t* data() const { return buffer_; }
  uint32_t bytes() const { return encoded_; }

 private:
  static constexpr uint32_t kRaw = 1 + kCobsExtra; /* where the plain frame starts */
  uint8_t buffer_[kRaw + kMaxFrame + 1];
  uint32_t length_;
  uint32_t encoded_;
};

}  // namespace tr
#endif
