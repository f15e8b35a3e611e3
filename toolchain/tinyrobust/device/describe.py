"""Stage ``device``, describe: a frame in words, for people and for JSON.

In: frames of either direction, in order. Out: a name, one line, and the fields. What each means is
in ``firmware/protocol/PROTOCOL.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tinyrobust.device import wire
from tinyrobust.device.framing import Frame
from tinyrobust.errors import ProtocolError

_Words = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Described:
    """``name`` of the message, whether it is an answer, one line about it, and its fields."""

    name: str
    reply: bool
    text: str
    fields: dict[str, Any] = field(default_factory=dict)


class Describer:
    """Knows names of classes when it is told; never raises."""

    def __init__(self, classes: Sequence[str] = ()) -> None:
        self.classes = list(classes)

    def __call__(self, frame: Frame) -> Described:
        """``frame`` in words."""
        name = self.name(frame.type)
        reply = frame.type >= wire.REPLY
        if frame.version != wire.VERSION:
            text = f"protocol {frame.version}, this tinyrobust speaks {wire.VERSION}"
            return Described(name, reply, text, {"version": frame.version})
        words = (self._answers() if reply else self._questions()).get(frame.type)
        if words is None:
            return Described(name, reply, f"{len(frame.payload)} bytes: {frame.payload[:32].hex()}")
        try:
            text, fields = words(frame.payload)
        except ProtocolError as error:
            return Described(name, reply, f"malformed: {error.message}")
        return Described(name, reply, text, fields)

    @staticmethod
    def name(kind: int) -> str:
        """Of a type of frame."""
        if kind == wire.ERROR:
            return "error"
        if kind == wire.TRACE_DATA:
            return "trace-data"
        return wire.COMMAND_NAMES.get(kind & ~wire.REPLY, f"type {kind:#04x}")

    def _questions(self) -> dict[int, Callable[[bytes], _Words]]:
        return {
            wire.HELLO: _nothing, wire.PING: _bytes, wire.PUT: _put, wire.INFER: _input,
            wire.TRACE: _trace, wire.STEPS: _first_step, wire.LAYER_CYCLES: _nothing,
            wire.MEMORY: _nothing, wire.IMAGE_HASH: _nothing, wire.LINK_STATS: _nothing,
            wire.GET: _get, wire.RESET_STATE: _nothing, wire.TENSORS: _first_tensor,
            wire.SET_BAUD: _baud, wire.RESET: _nothing,
        }  # fmt: skip

    def _answers(self) -> dict[int, Callable[[bytes], _Words]]:
        answers: dict[int, Callable[[bytes], _Words]] = {
            wire.HELLO: _hello, wire.PING: _bytes, wire.INFER: self._inference,
            wire.TRACE: _trace_end, wire.STEPS: _steps, wire.LAYER_CYCLES: _layer_cycles,
            wire.MEMORY: _memory, wire.IMAGE_HASH: _image_hash, wire.LINK_STATS: _link_stats,
            wire.GET: _bytes, wire.RESET_STATE: lambda _payload: ("the states begin again", {}),
            wire.TENSORS: _tensors,
            wire.SET_BAUD: _baud, wire.RESET: lambda _payload: ("the board resets", {}),
        }  # fmt: skip
        return {
            **{kind | wire.REPLY: words for kind, words in answers.items()},
            wire.TRACE_DATA: _trace_data,
            wire.ERROR: _error,
        }

    def _inference(self, payload: bytes) -> _Words:
        cycles, total, data = wire.parse_inference(payload)
        fields: dict[str, Any] = {"cycles": cycles, "bytes": total}
        if total != len(data) or total != 4 * len(self.classes):
            text = f"{len(data)} of {total:,} bytes" if total != len(data) else f"{total:,} bytes"
            return f"outputs of {text}, {cycles:,} cycles", fields
        # As many int32 as there are names of classes: what they say is read as scores.
        scores = [int(score) for score in np.frombuffer(data, "<i4")]
        label = scores.index(max(scores))
        shown = " ".join(map(str, scores[:10])) + (" ..." if len(scores) > 10 else "")
        fields |= {"label": label, "class": self.classes[label], "scores": scores}
        words = f"class {label} ({self.classes[label]}), {cycles:,} cycles, scores {shown}"
        return words, fields


def _nothing(payload: bytes) -> _Words:
    wire.Reader(payload, "a question").end()
    return "", {}


def _bytes(payload: bytes) -> _Words:
    return f"{len(payload)} bytes", {"bytes": len(payload)}


def _put(payload: bytes) -> _Words:
    read = wire.Reader(payload, "put")
    (offset,) = read.take("I")
    return f"{read.left} bytes of the input from {offset} on", {"offset": offset,
                                                                "bytes": read.left}  # fmt: skip


def _input(payload: bytes) -> _Words:
    size, crc = wire.Reader(payload, "infer").take("II")
    return f"input of {size:,} bytes, CRC {crc:08x}", {"bytes": size, "crc": crc}


def _trace(payload: bytes) -> _Words:
    size, crc, first, last = wire.Reader(payload, "trace").take("IIHH")
    text = f"steps {first} to {last}, input of {size:,} bytes, CRC {crc:08x}"
    return text, {"bytes": size, "crc": crc, "first": first, "last": last}


def _first_step(payload: bytes) -> _Words:
    (first,) = wire.Reader(payload, "steps").take("H")
    return f"from step {first} on", {"first": first}


_KINDS = {wire.INPUTS: "inputs", wire.OUTPUTS: "outputs", wire.STATES: "states"}


def _get(payload: bytes) -> _Words:
    sequence, kind, _, offset = wire.Reader(payload, "get").take("HBBI")
    name = _KINDS.get(kind, f"kind {kind}")
    of = f" of inference {sequence}" if kind == wire.OUTPUTS else ""
    fields = {"of": name, "offset": offset, "inference": sequence}
    return f"{name}{of} from byte {offset:,} on", fields


def _first_tensor(payload: bytes) -> _Words:
    kind, _, first = wire.Reader(payload, "tensors").take("BBH")
    name = _KINDS.get(kind, f"kind {kind}")
    return f"{name} from {first} on", {"of": name, "first": first}


def _tensors(payload: bytes) -> _Words:
    kind, first, tensors = wire.parse_tensors(payload)
    names = ", ".join(
        f"{t.name} {'x'.join(map(str, t.shape))} {wire.ELEMENT_TYPES[t.type].name}" for t in tensors
    )
    name = _KINDS.get(kind, f"kind {kind}")
    fields = {"of": name, "first": first, "tensors": [asdict(t) for t in tensors]}
    return f"{name} from {first} on: {names}", fields


def _baud(payload: bytes) -> _Words:
    (baud,) = wire.Reader(payload, "set-baud").take("I")
    return f"{baud:,} baud", {"baud": baud}


def _hello(payload: bytes) -> _Words:
    hello = wire.parse_hello(payload)
    kind = "virtual, counts instructions" if hello.is_virtual else f"{hello.clock_hz / 1e6:g} MHz"
    text = (
        f"{hello.board} ({kind}) runs {hello.model}: {hello.input_bytes:,} bytes in, "
        f"{hello.output_bytes:,} out, {hello.step_count} steps; image of "
        f"{hello.image_bytes:,} bytes, arena {hello.arena_bytes:,}; {hello.baud:,} baud, at most "
        f"{hello.baud_max:,}"
    )
    fields = asdict(hello)
    for missing in ("image_sha256", "inputs", "outputs", "states"):  # not in this message
        del fields[missing]
    return text, fields


def _steps(payload: bytes) -> _Words:
    first, steps = wire.parse_steps(payload)
    names = ", ".join(f"{step.name} ({step.kernel})" for step in steps)
    return f"from step {first} on: {names}", {"first": first, "steps": [asdict(s) for s in steps]}


def _layer_cycles(payload: bytes) -> _Words:
    sequence, cycles = wire.parse_layer_cycles(payload)
    shown = " ".join(f"{n:,}" for n in cycles)
    return f"of inference {sequence}: {shown}", {"inference": sequence, "cycles": cycles}


def _memory(payload: bytes) -> _Words:
    marks = wire.parse_memory(payload)
    text = (
        f"stack {marks.stack_used_bytes:,} of {marks.stack_bytes:,} bytes used, arena "
        f"{marks.arena_bytes:,}, buffers {marks.buffer_bytes:,}, image {marks.image_bytes:,}"
    )
    return text, asdict(marks)


def _image_hash(payload: bytes) -> _Words:
    count, digest = wire.parse_image_hash(payload)
    return f"SHA-256 of {count:,} bytes: {digest}", {"bytes": count, "sha256": digest}


def _link_stats(payload: bytes) -> _Words:
    stats = asdict(wire.parse_link_stats(payload))
    return ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in stats.items()), stats


def _trace_end(payload: bytes) -> _Words:
    (count,) = wire.Reader(payload, "trace").take("I")
    return f"{count} pieces sent", {"frames": count}


def _trace_data(payload: bytes) -> _Words:
    data = wire.parse_trace_data(payload)
    end = data.offset + len(data.values)
    text = f"step {data.step}, elements {data.offset} to {end - 1} of {data.total}"
    return text, {"step": data.step, "offset": data.offset, "elements": len(data.values),
                  "total": data.total}  # fmt: skip


def _error(payload: bytes) -> _Words:
    code, about, _, detail = wire.Reader(payload, "error").take("BBHI")
    why = wire.ERROR_NAMES.get(code, f"error {code}")
    text = f"refused {Describer.name(about)}: {why} ({detail})"
    if code == wire.E_SESSION:
        text += ": the board was reset, or another program began a session"
    return text, {"code": code, "about": Describer.name(about), "detail": detail, "reason": why}
