/* The device's side of the protocol: one request at a time, every length checked. */
#include "protocol.h"

#include "crc32.h"
#include "framing.h"
#include "sha256.h"
#include "tinyrobust.h"
#include "tr_image.h"
#include "tr_port.h"
#include "wire.h"

using tr::get16;
using tr::get32;
using tr::Header;
using tr::Receiver;
using tr::Sender;

/* Made small rather than fast: nothing in these is done for every byte that comes. */
#define TR_COLD __attribute__((cold, noinline))

/* All memory of the link. */
TR_BUFFER static Receiver tr_link_receiver;
TR_BUFFER static Sender tr_link_sender;
TR_BUFFER static uint32_t tr_link_cycles[TR_WIRE_MAX_STEPS];

struct LinkState {
  tr_status model;   /* what tr_init said */
  uint32_t session;  /* 0 until a HELLO, so a reset shows */
  uint32_t received; /* bytes of the input of transfer `transfer`, without a gap */
  uint16_t transfer;
  bool transfer_open; /* false before the first PUT and once the input was consumed */
  bool cycles_valid;
  uint16_t cycles_sequence;
  bool done_valid; /* the outputs of INFER done_sequence lie untouched in the arena */
  uint16_t done_sequence;
  uint32_t done_cycles;
  uint32_t baud;
  uint32_t baud_before; /* not 0 while the new rate is unconfirmed */
  uint32_t baud_since;
  uint32_t frames;
  uint32_t crc_errors;
  uint32_t overflows;
  uint32_t malformed;
  uint32_t duplicates;
};
TR_BUFFER static LinkState tr_link_state;

static uint32_t buffer_bytes() {
  return (uint32_t)(sizeof tr_link_receiver + sizeof tr_link_sender + sizeof tr_link_cycles +
                    sizeof tr_link_state);
}

/* ---- Sending ----------------------------------------------------------------------------------
 */

static Sender& begin(const Header& request, uint8_t type) {
  tr_link_sender.begin(type, request.sequence, request.session);
  return tr_link_sender;
}

static Sender& begin_reply(const Header& request) {
  return begin(request, (uint8_t)(request.type | TR_WIRE_REPLY));
}

static void send() {
  tr_link_sender.seal();
  tr_port_write(tr_link_sender.data(), tr_link_sender.bytes());
}

/* PROTOCOL.md, "Errors". The session in the frame is the device's own when that is the fault. */
TR_COLD static void send_error(const Header& request, uint8_t code, uint32_t detail) {
  Sender& out = begin(request, TR_WIRE_ERROR);
  out.put8(code);
  out.put8(request.type);
  out.put16(0);
  out.put32(detail);
  send();
}

/* ---- Tensors that lie end to end --------------------------------------------------------------
 */

/* Part of one tensor in the arena. */
struct Stretch {
  uint8_t* at;
  uint32_t bytes;
};

static uint32_t bytes_of(const tr_tensor& tensor) {
  return tensor.count * tr_element_bytes(tensor.type);
}

static uint16_t count_of(uint8_t kind) {
  return kind == TR_WIRE_INPUTS    ? tr_model.input_count
         : kind == TR_WIRE_OUTPUTS ? tr_model.output_count
                                   : tr_model.state_count;
}

TR_COLD static const tr_tensor& tensor_of(uint8_t kind, uint16_t index) {
  return kind == TR_WIRE_INPUTS    ? tr_model.inputs[index]
         : kind == TR_WIRE_OUTPUTS ? tr_model.outputs[index]
                                   : tr_model.states[index].tensor;
}

/* From byte `offset` of all inputs, outputs or states to the end of that one; there must be it. */
TR_COLD static Stretch locate(uint8_t kind, uint32_t offset) {
  for (uint16_t i = 0;; ++i) {
    const tr_tensor& tensor = tensor_of(kind, i);
    const uint32_t bytes = bytes_of(tensor);
    if (offset < bytes) return {tr_at(&tensor) + offset, bytes - offset};
    offset -= bytes;
  }
}

/* Puts at most one chunk of outputs or states, from `offset` on, into the frame. */
TR_COLD static void put_tensors(Sender& out, uint8_t kind, uint32_t offset) {
  const uint32_t all = kind == TR_WIRE_OUTPUTS ? tr_model.output_bytes : tr_model.state_bytes;
  uint32_t left = all - offset;
  if (left > TR_WIRE_CHUNK_BYTES) left = TR_WIRE_CHUNK_BYTES;
  while (left != 0) {
    Stretch part = locate(kind, offset);
    if (part.bytes > left) part.bytes = left;
    out.put_bytes(part.at, part.bytes);
    offset += part.bytes;
    left -= part.bytes;
  }
}

/* ---- Input and inference ----------------------------------------------------------------------
 */

/* Pieces arrive in order; a repeated one is dropped, one after a gap too. The reply to INFER tells
 * when something is missing, so a PUT itself is never answered unless it is wrong in itself. */
TR_COLD static void do_put(const Header& request, const uint8_t* payload) {
  LinkState& link = tr_link_state;
  if (request.length < 5) return send_error(request, TR_WIRE_E_LENGTH, request.length);
  uint32_t offset = get32(payload);
  uint32_t count = request.length - 4u;
  if (offset > tr_model.input_bytes || count > tr_model.input_bytes - offset)
    return send_error(request, TR_WIRE_E_VALUE, offset);

  if (link.model != TR_OK) return; /* INFER says so */
  /* What has run must not run again: a network with states would be a step further. */
  const bool done = link.done_valid && link.done_sequence == request.sequence;
  if (!done && offset == 0 && !(link.transfer_open && link.transfer == request.sequence)) {
    link.transfer = request.sequence;
    link.transfer_open = true;
    link.received = 0;
    link.done_valid = false; /* the input may lie over the outputs */
  }
  if (!link.transfer_open || link.transfer != request.sequence || offset != link.received) {
    ++link.duplicates;
    return;
  }
  link.received += count;
  for (const uint8_t* from = payload + 4; count != 0;) {
    Stretch part = locate(TR_WIRE_INPUTS, offset);
    if (part.bytes > count) part.bytes = count;
    __builtin_memcpy(part.at, from, part.bytes);
    from += part.bytes;
    offset += part.bytes;
    count -= part.bytes;
  }
}

/* True when all inputs lie in their places with the CRC that the host computed; else the error is
 * on its way. Either way the transfer is over: tr_invoke may overwrite the inputs. */
TR_COLD static bool take_input(const Header& request, const uint8_t* payload) {
  LinkState& link = tr_link_state;
  if (link.model != TR_OK) {
    send_error(request, TR_WIRE_E_MODEL, (uint32_t)link.model);
    return false;
  }
  const bool open = link.transfer_open && link.transfer == request.sequence;
  const uint32_t received = open ? link.received : 0;
  if (get32(payload) != tr_model.input_bytes) {
    send_error(request, TR_WIRE_E_VALUE, tr_model.input_bytes);
    return false;
  }
  if (received != tr_model.input_bytes) {
    send_error(request, TR_WIRE_E_INCOMPLETE, received);
    return false;
  }
  link.transfer_open = false;
  uint32_t crc = tr::kCrcStart;
  for (uint16_t i = 0; i < tr_model.input_count; ++i) {
    const tr_tensor& input = tr_model.inputs[i];
    crc = tr::crc32_bytes(crc, tr_at(&input), bytes_of(input));
  }
  if (~crc != get32(payload + 4)) {
    send_error(request, TR_WIRE_E_IMAGE_CRC, 0);
    return false;
  }
  return true;
}

/* Cycles from one reading to the next, without what the hook itself does between its readings. */
struct Stopwatch {
  uint32_t last;
  uint32_t total;
};

static void time_step(void* user, uint16_t step, const tr_step*, const uint8_t*) {
  const uint32_t now = tr_port_cycles();
  Stopwatch& watch = *(Stopwatch*)user;
  const uint32_t spent = now - watch.last;
  watch.total += spent;
  if (step < TR_WIRE_MAX_STEPS) tr_link_cycles[step] = spent;
  watch.last = tr_port_cycles();
}

/* The answer to the INFER that ran last: as often as it is asked for, it runs once. */
TR_COLD static void send_outputs(const Header& request) {
  Sender& out = begin_reply(request);
  out.put32(tr_link_state.done_cycles);
  out.put32(tr_model.output_bytes);
  put_tensors(out, TR_WIRE_OUTPUTS, 0);
  send();
}

static void do_infer(const Header& request, const uint8_t* payload) {
  LinkState& link = tr_link_state;
  if (link.done_valid && link.done_sequence == request.sequence) {
    ++link.duplicates;
    return send_outputs(request);
  }
  if (!take_input(request, payload)) return;

  Stopwatch watch = {0, 0};
  link.cycles_valid = false;
  watch.last = tr_port_cycles();
  const tr_status status = tr_invoke(time_step, &watch);
  watch.total += tr_port_cycles() - watch.last;
  if (status != TR_OK) return send_error(request, TR_WIRE_E_MODEL, (uint32_t)status);
  link.cycles_valid = true;
  link.cycles_sequence = request.sequence;
  link.done_valid = true;
  link.done_sequence = request.sequence;
  link.done_cycles = watch.total;
  send_outputs(request);
}

/* A piece of the outputs of the last INFER, or of the states. */
TR_COLD static void do_get(const Header& request, const uint8_t* payload) {
  const LinkState& link = tr_link_state;
  const uint8_t kind = payload[2];
  const uint32_t offset = get32(payload + 4);
  if (link.model != TR_OK) return send_error(request, TR_WIRE_E_MODEL, (uint32_t)link.model);
  if (kind != TR_WIRE_OUTPUTS && kind != TR_WIRE_STATES)
    return send_error(request, TR_WIRE_E_VALUE, TR_WIRE_STATES);
  if (kind == TR_WIRE_OUTPUTS && !(link.done_valid && link.done_sequence == get16(payload)))
    return send_error(request, TR_WIRE_E_NOT_READY, 0);
  const uint32_t bytes = kind == TR_WIRE_OUTPUTS ? tr_model.output_bytes : tr_model.state_bytes;
  if (offset >= bytes) return send_error(request, TR_WIRE_E_VALUE, bytes);
  put_tensors(begin_reply(request), kind, offset);
  send();
}

TR_COLD static void do_reset_state(const Header& request, const uint8_t*) {
  LinkState& link = tr_link_state;
  if (link.model != TR_OK) return send_error(request, TR_WIRE_E_MODEL, (uint32_t)link.model);
  tr_reset_state();
  begin_reply(request);
  send();
}

struct Tracer {
  const Header* request;
  uint16_t first;
  uint16_t last;
  uint32_t frames;
};

/* Sends the step's tensor straight from the arena, before a later step overwrites it. */
static void trace_step(void* user, uint16_t step, const tr_step* info, const uint8_t* arena) {
  Tracer& tracer = *(Tracer*)user;
  if (step < tracer.first || step > tracer.last) return;
  const uint32_t size = tr_element_bytes(info->out_type);
  const uint32_t most = TR_WIRE_CHUNK_BYTES / size;
  uint32_t at = 0;
  while (at < info->out_count) {
    const uint32_t left = info->out_count - at;
    const uint32_t count = left < most ? left : most;
    Sender& out = begin(*tracer.request, TR_WIRE_TRACE_DATA);
    out.put16(step);
    out.put8(info->out_type);
    out.put8(0);
    out.put32(at);
    out.put32(info->out_count);
    out.put_bytes(arena + info->out_offset + at * size, count * size);
    send();
    ++tracer.frames;
    at += count;
  }
}

static void do_trace(const Header& request, const uint8_t* payload) {
  Tracer tracer = {&request, get16(payload + 8), get16(payload + 10), 0};
  if (tracer.first > tracer.last || tracer.last >= tr_model.step_count)
    return send_error(request, TR_WIRE_E_VALUE, tr_model.step_count);
  if (!take_input(request, payload)) return;
  tr_link_state.cycles_valid = false;
  tr_link_state.done_valid = false;
  const tr_status status = tr_invoke(trace_step, &tracer);
  if (status != TR_OK) return send_error(request, TR_WIRE_E_MODEL, (uint32_t)status);
  begin_reply(request).put32(tracer.frames);
  send();
}

/* ---- Questions about the device ---------------------------------------------------------------
 */

TR_COLD static void do_hello(const Header& request, const uint8_t*) {
  LinkState& link = tr_link_state;
  if (request.session != link.session) {
    link.session = request.session;
    link.transfer_open = false;
    link.cycles_valid = false;
    link.done_valid = false;
  }
  const int is_virtual = tr_port_is_virtual();
  Sender& out = begin_reply(request);
  out.put8(TR_WIRE_VERSION);
  out.put8(is_virtual ? TR_WIRE_FLAG_VIRTUAL : 0);
  out.put16(TR_WIRE_CHUNK_BYTES);
  out.put32(is_virtual ? TR_WIRE_VIRTUAL_WINDOW_BYTES : 0);
  out.put32(link.baud);
  out.put32(tr_port_baud_max());
  out.put32(tr_port_clock_hz());
  out.put32(tr_port_image_bytes());
  out.put32(tr_model.input_bytes);
  out.put32(tr_model.output_bytes);
  out.put32(tr_model.state_bytes);
  out.put16(tr_model.input_count);
  out.put16(tr_model.output_count);
  out.put16(tr_model.state_count);
  out.put16(tr_model.step_count);
  out.put32(tr_model.arena_bytes);
  out.put32(buffer_bytes());
  out.put_bytes(tr_model.graph_sha256, 32);
  out.put_name(tr_port_board());
  out.put_name(tr_model.name);
  send();
}

TR_COLD static void do_ping(const Header& request, const uint8_t* payload) {
  begin_reply(request).put_bytes(payload, request.length);
  send();
}

/* As many whole entries as fit, from the asked step on. */
TR_COLD static void do_steps(const Header& request, const uint8_t* payload) {
  const uint16_t first = get16(payload);
  if (first >= tr_model.step_count)
    return send_error(request, TR_WIRE_E_VALUE, tr_model.step_count);
  Sender& out = begin_reply(request);
  out.put16(first);
  for (uint16_t i = first; i < tr_model.step_count; ++i) {
    const tr_step& step = tr_model.steps[i];
    if (out.room() < 9 + 2 * (1 + TR_WIRE_MAX_NAME)) break;
    out.put32(step.macs);
    out.put32(step.out_count);
    out.put8(step.out_type);
    out.put_name(step.name);
    out.put_name(step.kernel);
  }
  send();
}

/* As many whole entries as fit of the inputs, outputs or states, from the asked one on. */
TR_COLD static void do_tensors(const Header& request, const uint8_t* payload) {
  const uint8_t kind = payload[0];
  const uint16_t first = get16(payload + 2);
  if (kind > TR_WIRE_STATES) return send_error(request, TR_WIRE_E_VALUE, TR_WIRE_STATES);
  const uint16_t count = count_of(kind);
  if (first >= count) return send_error(request, TR_WIRE_E_VALUE, count);
  Sender& out = begin_reply(request);
  out.put8(kind);
  out.put8(0);
  out.put16(first);
  for (uint16_t i = first; i < count; ++i) {
    const tr_tensor& tensor = tensor_of(kind, i);
    if (out.room() < 22 + 1 + TR_WIRE_MAX_NAME) break;
    uint32_t scale;
    __builtin_memcpy(&scale, &tensor.scale, sizeof scale);
    out.put8(tensor.type);
    out.put8(tensor.rank);
    out.put32((uint32_t)tensor.zero_point);
    out.put32(scale);
    for (const uint32_t& size : tensor.shape) out.put32(size);
    out.put_name(tensor.name);
  }
  send();
}

TR_COLD static void do_layer_cycles(const Header& request, const uint8_t*) {
  const LinkState& link = tr_link_state;
  if (tr_model.step_count > TR_WIRE_MAX_STEPS)
    return send_error(request, TR_WIRE_E_UNSUPPORTED, tr_model.step_count);
  if (!link.cycles_valid) return send_error(request, TR_WIRE_E_NOT_READY, 0);
  Sender& out = begin_reply(request);
  out.put16(link.cycles_sequence);
  out.put16(tr_model.step_count);
  for (uint16_t i = 0; i < tr_model.step_count; ++i) out.put32(tr_link_cycles[i]);
  send();
}

/* The deepest the stack has been: start-up painted it, and it grows down. */
TR_COLD static void do_memory(const Header& request, const uint8_t*) {
  const uint32_t* const low = tr_port_stack_low();
  const uint32_t* const high = tr_port_stack_high();
  const uint32_t* mark = low;
  while (mark < high && *mark == TR_STACK_PAINT) ++mark;
  Sender& out = begin_reply(request);
  out.put32((uint32_t)(high - low) * 4u);
  out.put32((uint32_t)(high - mark) * 4u);
  out.put32(tr_model.arena_bytes);
  out.put32(buffer_bytes());
  out.put32(tr_port_image_bytes());
  send();
}

TR_COLD static void do_image_hash(const Header& request, const uint8_t*) {
  uint8_t digest[32];
  tr::sha256(tr_port_image(), tr_port_image_bytes(), digest);
  Sender& out = begin_reply(request);
  out.put32(tr_port_image_bytes());
  out.put_bytes(digest, sizeof digest);
  send();
}

TR_COLD static void do_link_stats(const Header& request, const uint8_t*) {
  const LinkState& link = tr_link_state;
  Sender& out = begin_reply(request);
  out.put32(link.frames);
  out.put32(link.crc_errors);
  out.put32(link.overflows);
  out.put32(link.malformed);
  out.put32(link.duplicates);
  send();
}

/* ---- Baud rate and reset ----------------------------------------------------------------------
 */

TR_COLD static void do_set_baud(const Header& request, const uint8_t* payload) {
  LinkState& link = tr_link_state;
  const uint32_t baud = get32(payload);
  if (baud < TR_WIRE_BAUD_BASE || baud > tr_port_baud_max())
    return send_error(request, TR_WIRE_E_VALUE, tr_port_baud_max());
  begin_reply(request).put32(baud);
  send();
  const uint32_t before = link.baud;
  if (baud == before || !tr_port_set_baud(baud)) return;
  link.baud = baud;
  /* The base rate is where everybody looks: going there needs no proof. */
  link.baud_before = baud == TR_WIRE_BAUD_BASE ? 0 : before;
  link.baud_since = tr_port_cycles();
}

void tr_protocol_idle(void) {
  LinkState& link = tr_link_state;
  if (link.baud_before == 0) return;
  const uint32_t limit = tr_port_clock_hz() / 1000u * TR_WIRE_BAUD_CONFIRM_MS;
  if (tr_port_cycles() - link.baud_since < limit) return;
  if (tr_port_set_baud(link.baud_before)) link.baud = link.baud_before;
  link.baud_before = 0;
}

TR_COLD static void do_reset(const Header& request, const uint8_t*) {
  begin_reply(request);
  send();
  tr_port_set_baud(tr_link_state.baud); /* waits until the reply has left the wire */
  tr_port_reset();
}

/* ---- Dispatch ---------------------------------------------------------------------------------
 */

struct Command {
  uint8_t type;
  uint16_t min_bytes;
  uint16_t max_bytes;
  void (*run)(const Header& request, const uint8_t* payload);
};

static const Command kCommands[] = {
    {TR_WIRE_HELLO, 0, 0, do_hello},
    {TR_WIRE_PING, 0, TR_WIRE_MAX_PAYLOAD, do_ping},
    {TR_WIRE_PUT, 5, 4 + TR_WIRE_CHUNK_BYTES, do_put},
    {TR_WIRE_INFER, 8, 8, do_infer},
    {TR_WIRE_TRACE, 12, 12, do_trace},
    {TR_WIRE_GET, 8, 8, do_get},
    {TR_WIRE_RESET_STATE, 0, 0, do_reset_state},
    {TR_WIRE_STEPS, 2, 2, do_steps},
    {TR_WIRE_LAYER_CYCLES, 0, 0, do_layer_cycles},
    {TR_WIRE_MEMORY, 0, 0, do_memory},
    {TR_WIRE_IMAGE_HASH, 0, 0, do_image_hash},
    {TR_WIRE_LINK_STATS, 0, 0, do_link_stats},
    {TR_WIRE_TENSORS, 4, 4, do_tensors},
    {TR_WIRE_SET_BAUD, 4, 4, do_set_baud},
    {TR_WIRE_RESET, 0, 0, do_reset},
};

TR_COLD static void dispatch(const Header& request, const uint8_t* payload) {
  LinkState& link = tr_link_state;
  if (request.version != TR_WIRE_VERSION)
    return send_error(request, TR_WIRE_E_VERSION, TR_WIRE_VERSION);
  if (request.session == 0 || (request.type != TR_WIRE_HELLO && request.session != link.session))
    return send_error(request, TR_WIRE_E_SESSION, 0);
  for (const Command& command : kCommands) {
    if (command.type != request.type) continue;
    if (request.length < command.min_bytes || request.length > command.max_bytes)
      return send_error(request, TR_WIRE_E_LENGTH, request.length);
    return command.run(request, payload);
  }
  send_error(request, TR_WIRE_E_COMMAND, request.type);
}

void tr_protocol_init(tr_status model) {
  tr_link_receiver.restart();
  tr_link_state = LinkState();
  tr_link_state.model = model;
  tr_link_state.baud = TR_WIRE_BAUD_BASE;
}

void tr_protocol_feed(uint8_t byte) {
  LinkState& link = tr_link_state;
  switch (tr_link_receiver.feed(byte)) {
    case Receiver::Event::none:
      return;
    case Receiver::Event::crc_error:
      ++link.crc_errors;
      return;
    case Receiver::Event::overflow:
      ++link.overflows;
      return;
    case Receiver::Event::malformed:
      ++link.malformed;
      return;
    case Receiver::Event::frame:
      break;
  }
  ++link.frames;
  const Header request = tr_link_receiver.header();
  dispatch(request, tr_link_receiver.payload());
  /* Whatever was asked arrived at this rate: it works. SET_BAUD itself came at the old one. */
  if (request.type != TR_WIRE_SET_BAUD) link.baud_before = 0;
}
