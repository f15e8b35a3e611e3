/* libFuzzer on the device's side of the protocol, over the model of tests/fake_device_sources.
 *
 * The input is a list of pieces: one byte says how the next ones are meant. Raw bytes go straight
 * to the parser; a request is put into a frame with a good CRC, so that the fuzzer reaches the
 * commands behind it. Everything that the device sends must be a frame, of the session it was asked
 * in; an inference must be answered with the model's scores for the input that was sent in full. */
#include <stdlib.h>
#include <string.h>

#include "crc32.h"
#include "framing.h"
#include "protocol.h"
#include "tinyrobust.h"
#include "tr_image.h"
#include "tr_port.h"

static tr::Receiver sent;
static uint8_t input[3072];
static uint32_t now;
static uint16_t inference = 0x5555; /* the sequence of the last whole inference */
static const uint8_t kImage[100] = {1, 2, 3};
static const uint32_t kStack[4] = {TR_STACK_PAINT, TR_STACK_PAINT, 1, 2};
static const uint32_t kSession = 0x01020304;

static void require(bool holds) {
  if (!holds) abort();
}

/* The model, run apart from the device's own arena. */
static void check_scores(const uint8_t* payload) {
  static uint8_t arena[8192];
  memcpy(arena + tr_model.inputs[0].offset, input, tr_model.input_bytes);
  for (uint16_t i = 0; i < tr_model.step_count; ++i) tr_model.steps[i].run(arena);
  require(memcmp(payload + 8, arena + tr_model.outputs[0].offset, tr_model.output_bytes) == 0);
}

static void check_reply() {
  const tr::Header header = sent.header();
  require(header.version == TR_WIRE_VERSION && header.type >= TR_WIRE_REPLY);
  if (header.type != (TR_WIRE_INFER | TR_WIRE_REPLY)) return;
  require(header.session == kSession && header.length == 8 + tr_model.output_bytes);
  /* This request is only ever sent with the whole of `input` before it. */
  if (header.sequence == inference) check_scores(sent.payload());
}

extern "C" {

void tr_port_write(const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) {
    const tr::Receiver::Event event = sent.feed(data[i]);
    require(event == tr::Receiver::Event::none || event == tr::Receiver::Event::frame);
    if (event == tr::Receiver::Event::frame) check_reply();
  }
}

int tr_port_set_baud(uint32_t baud) {
  require(baud >= TR_WIRE_BAUD_BASE && baud <= tr_board_baud_max);
  return baud % 2 == 0;
}

uint32_t tr_port_baud_max(void) { return tr_board_baud_max; }
uint32_t tr_port_cycles(void) { return now += 777; }
uint32_t tr_port_clock_hz(void) { return 1000000; }
int tr_port_is_virtual(void) { return 1; }
const uint8_t* tr_port_image(void) { return kImage; }
uint32_t tr_port_image_bytes(void) { return sizeof kImage; }
const uint32_t* tr_port_stack_low(void) { return kStack; }
const uint32_t* tr_port_stack_high(void) { return kStack + 4; }
const char* tr_port_board(void) { return tr_board_id; }
void tr_port_reset(void) { tr_protocol_init(TR_OK); }
}

static void feed(const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) tr_protocol_feed(data[i]);
  tr_protocol_idle();
}

static void request(uint8_t type, uint16_t sequence, const uint8_t* payload, uint32_t bytes) {
  static tr::Sender host;
  host.begin(type, sequence, kSession);
  host.put_bytes(payload, bytes < TR_WIRE_MAX_PAYLOAD ? bytes : TR_WIRE_MAX_PAYLOAD);
  host.seal();
  feed(host.data(), host.bytes());
}

/* A whole input and INFER; what came before must not matter. The seed varies the input. Each has a
 * sequence of its own, which no byte of the fuzzer reaches: a repeated one asks for the old answer.
 */
static void infer(uint8_t seed) {
  inference = inference == 0xffff ? 0x5555 : (uint16_t)(inference + 1);
  for (uint32_t i = 0; i < sizeof input; ++i) input[i] = (uint8_t)(i * seed + (i >> 5));
  uint8_t piece[4 + TR_WIRE_CHUNK_BYTES];
  for (uint32_t at = 0; at < sizeof input; at += TR_WIRE_CHUNK_BYTES) {
    const uint8_t offset[4] = {(uint8_t)at, (uint8_t)(at >> 8), 0, 0};
    memcpy(piece, offset, 4);
    memcpy(piece + 4, input + at, TR_WIRE_CHUNK_BYTES);
    request(TR_WIRE_PUT, inference, piece, sizeof piece);
  }
  const uint32_t check = tr::crc32(input, sizeof input);
  uint8_t payload[8] = {0x00, 0x0C, 0, 0};
  for (unsigned i = 0; i < 4; ++i) payload[4 + i] = (uint8_t)(check >> (8 * i));
  request(TR_WIRE_PING, 0x5554, payload, 8); /* so that no cached reply is left */
  request(TR_WIRE_INFER, inference, payload, 8);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sent.restart();
  tr_protocol_init(tr_init(tr_arena, tr_arena_bytes));
  while (size >= 4) {
    const uint8_t how = data[0];
    uint32_t bytes = data[1] + 8u * (how >> 4); /* up to 375 */
    const uint16_t sequence = data[2];
    const uint8_t type = data[3];
    data += 4;
    size -= 4;
    if (bytes > size) bytes = (uint32_t)size;
    switch (how & 3u) {
      case 0:
        feed(data, bytes);
        break;
      case 1:
        request(type, sequence, data, bytes);
        break;
      case 2:
        request(TR_WIRE_HELLO, sequence, data, 0);
        bytes = 0;
        break;
      default:
        feed((const uint8_t*)"\0", 1);
        request(TR_WIRE_HELLO, sequence, data, 0);
        infer(type);
        bytes = 0;
        break;
    }
    data += bytes;
    size -= bytes;
  }
  return 0;
}
