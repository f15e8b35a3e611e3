"""Stage ``device``, describe: a frame in words, for people and for JSON.

In: frames of either direction, in order. Out: a name, one line, and the fields. What each means is
in ``firmware/protocol/PROTOCOL.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

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
            wire.SET_BAUD: _baud, wire.RESET: _nothing,
        }  # fmt: skip

    def _answers(self) -> dict[int, Callable[[bytes], _Words]]:
        answers: dict[int, Callable[[bytes], _Words]] = {
            wire.HELLO: _hello, wire.PING: _bytes, wire.INFER: self._inference,
            wire.TRACE: _trace_end, wire.STEPS: _steps, wire.LAYER_CYCLES: _layer_cycles,
            wire.MEMORY: _memory, wire.IMAGE_HASH: _image_hash, wire.LINK_STATS: _link_stats,
            wire.SET_BAUD: _baud, wire.RESET: lambda _payload: ("the board resets", {}),
        }  # fmt: skip
        return {
            **{kind | wire.REPLY: words for kind, words in answers.items()},
            wire.TRACE_DATA: _trace_data,
            wire.ERROR: _error,
        }

    def _inference(self, payload: bytes) -> _Words:
        classes = int.from_bytes(payload[2:4], "little")
        found = wire.parse_inference(payload, classes)
        name = self.classes[found.label] if found.label < len(self.classes) else ""
        text = f"class {found.label}{f' ({name})' if name else ''}, {found.cycles:,} cycles"
        scores = [int(score) for score in found.scores]
        shown = " ".join(map(str, scores[:10])) + (" ..." if len(scores) > 10 else "")
        fields = {"label": found.label, "cycles": found.cycles, "scores": scores}
        if name:
            fields["class"] = name
        return f"{text}, scores {shown}", fields


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


def _baud(payload: bytes) -> _Words:
    (baud,) = wire.Reader(payload, "set-baud").take("I")
    return f"{baud:,} baud", {"baud": baud}


def _hello(payload: bytes) -> _Words:
    hello = wire.parse_hello(payload)
    kind = "virtual, counts instructions" if hello.is_virtual else f"{hello.clock_hz / 1e6:g} MHz"
    shape = "x".join(map(str, hello.input_shape))
    text = (
        f"{hello.board} ({kind}) runs {hello.model}: input {shape}, {hello.classes} classes, "
        f"{hello.step_count} steps; image of {hello.image_bytes:,} bytes, arena "
        f"{hello.arena_bytes:,}; {hello.baud:,} baud, at most {hello.baud_max:,}"
    )
    fields = asdict(hello)
    del fields["image_sha256"]  # not in this message
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
