#include "framing.h"

#include "crc32.h"

namespace tr {

void Receiver::restart() {
  overflow_ = false;
  count_ = 0;
  crc_ = kCrcStart;
  code_ = 0;
  left_ = 0;
}

void Receiver::push(uint8_t byte) {
  if (count_ == kMaxFrame) {
    overflow_ = true;
    return;
  }
  frame_[count_++] = byte;
  crc_ = crc32_byte(crc_, byte);
}

Receiver::Event Receiver::feed(uint8_t byte) {
  if (byte == 0) {
    const Event event = finish();
    restart();
    return event;
  }
  if (left_ > 0) {
    push(byte);
    --left_;
    return Event::none;
  }
  if (code_ != 0 && code_ != 0xFF) push(0);
  code_ = byte;
  left_ = (uint8_t)(byte - 1);
  return Event::none;
}

Receiver::Event Receiver::finish() {
  if (code_ == 0) return Event::none; /* nothing between two zero bytes */
  if (overflow_) return Event::overflow;
  if (left_ > 0 || count_ < TR_WIRE_HEADER_BYTES + TR_WIRE_CRC_BYTES) return Event::malformed;
  if (crc_ != kCrcResidue) return Event::crc_error;
  const uint32_t expected = TR_WIRE_HEADER_BYTES + TR_WIRE_CRC_BYTES + header().length;
  return count_ == expected ? Event::frame : Event::malformed;
}

Header Receiver::header() const {
  return {frame_[0], frame_[1], get16(frame_ + 2), get32(frame_ + 4), get16(frame_ + 8)};
}

void Sender::begin(uint8_t type, uint16_t sequence, uint32_t session) {
  uint8_t* header = buffer_ + kRaw;
  header[0] = TR_WIRE_VERSION;
  header[1] = type;
  header[2] = (uint8_t)sequence;
  header[3] = (uint8_t)(sequence >> 8);
  for (unsigned i = 0; i < 4; ++i) header[4 + i] = (uint8_t)(session >> (8 * i));
  length_ = 0;
}

void Sender::put8(uint8_t value) {
  if (room() > 0) buffer_[kRaw + TR_WIRE_HEADER_BYTES + length_++] = value;
}

void Sender::put16(uint16_t value) {
  put8((uint8_t)value);
  put8((uint8_t)(value >> 8));
}

void Sender::put32(uint32_t value) {
  put16((uint16_t)value);
  put16((uint16_t)(value >> 16));
}

void Sender::put_bytes(const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) put8(data[i]);
}

void Sender::put_name(const char* text) {
  uint8_t length = 0;
  while (length < TR_WIRE_MAX_NAME && text[length] != 0) ++length;
  put8(length);
  for (uint8_t i = 0; i < length; ++i) put8((uint8_t)text[i]);
}

void Sender::seal() {
  uint8_t* const raw = buffer_ + kRaw;
  raw[8] = (uint8_t)length_;
  raw[9] = (uint8_t)(length_ >> 8);
  uint32_t count = TR_WIRE_HEADER_BYTES + length_;
  const uint32_t crc = crc32(raw, count);
  for (unsigned i = 0; i < 4; ++i) raw[count++] = (uint8_t)(crc >> (8 * i));

  /* The plain frame starts kCobsExtra bytes behind the first code byte, so the encoded bytes never
   * overtake the ones still to be read. */
  buffer_[0] = 0;
  uint32_t code_at = 1;
  uint32_t out = 2;
  uint8_t code = 1;
  for (uint32_t in = 0; in < count; ++in) {
    const uint8_t byte = raw[in];
    if (byte != 0) {
      buffer_[out++] = byte;
      ++code;
    }
    if (byte == 0 || (code == 0xFF && in + 1 < count)) {
      buffer_[code_at] = code;
      code_at = out++;
      code = 1;
    }
  }
  buffer_[code_at] = code;
  buffer_[out++] = 0;
  encoded_ = out;
}

}  // namespace tr
