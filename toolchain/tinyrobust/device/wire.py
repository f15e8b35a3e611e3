"""Stage ``device``, vocabulary: the constants of the wire protocol and its payloads as dataclasses.

In: payload bytes. Out: plain values. The constants equal ``firmware/protocol/wire.h``, and the
offsets ``firmware/protocol/PROTOCOL.md``. ProtocolError: a payload that is not what its type says.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import ProtocolError

VERSION = 1
HEADER_BYTES = 10
CRC_BYTES = 4
MAX_PAYLOAD = 1040
CHUNK_BYTES = 1024
BAUD_BASE = 115200
MAX_CLASSES = 256
MAX_STEPS = 128
MAX_NAME = 64
BAUD_CONFIRM_MS = 1000
VIRTUAL_WINDOW_BYTES = 16384

HELLO = 0x01
PING = 0x02
PUT = 0x10
INFER = 0x11
TRACE = 0x12
STEPS = 0x20
LAYER_CYCLES = 0x21
MEMORY = 0x22
IMAGE_HASH = 0x23
LINK_STATS = 0x24
SET_BAUD = 0x30
RESET = 0x31
REPLY = 0x80
TRACE_DATA = 0xC0
ERROR = 0xFF

E_VERSION = 1
E_COMMAND = 2
E_LENGTH = 3
E_VALUE = 4
E_SESSION = 5
E_INCOMPLETE = 6
E_IMAGE_CRC = 7
E_MODEL = 8
E_UNSUPPORTED = 9
E_NOT_READY = 10
FLAG_VIRTUAL = 1

COMMAND_NAMES = {
    HELLO: "hello",
    PING: "ping",
    PUT: "put",
    INFER: "infer",
    TRACE: "trace",
    STEPS: "steps",
    LAYER_CYCLES: "layer-cycles",
    MEMORY: "memory",
    IMAGE_HASH: "image-hash",
    LINK_STATS: "link-stats",
    SET_BAUD: "set-baud",
    RESET: "reset",
}
ERROR_NAMES = {
    E_VERSION: "another protocol version",
    E_COMMAND: "unknown command",
    E_LENGTH: "wrong payload length",
    E_VALUE: "value out of range",
    E_SESSION: "unknown session",
    E_INCOMPLETE: "input incomplete",
    E_IMAGE_CRC: "CRC of the input differs",
    E_MODEL: "the model failed",
    E_UNSUPPORTED: "unsupported",
    E_NOT_READY: "not ready",
}
# tr_step.out_type -> numpy, little-endian as it lies in the arena
ELEMENT_TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("u1"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
}


@dataclass(frozen=True)
class Hello:
    """Who answers: the board, the model in its flash, and what the link can carry."""

    board: str
    model: str
    graph_sha256: str
    image_sha256: str
    image_bytes: int
    input_shape: tuple[int, int, int]
    classes: int
    scores_frac_bits: int
    step_count: int
    clock_hz: int
    is_virtual: bool
    protocol_version: int
    chunk_bytes: int
    window_bytes: int
    baud: int
    baud_max: int
    arena_bytes: int
    buffer_bytes: int

    @property
    def input_bytes(self) -> int:
        """Bytes of one uint8 image."""
        return int(np.prod(self.input_shape))

    @property
    def max_batch(self) -> int:
        """Images that may be under way at once; 1 when the device is deaf while it computes."""
        pieces = -(-self.input_bytes // CHUNK_BYTES)
        image = self.input_bytes + (pieces + 1) * 30 + self.input_bytes // 254
        reply = 40 + 4 * self.classes
        return max(1, min(8, self.window_bytes // image, 2048 // reply))


@dataclass(frozen=True)
class Inference:
    """One answer. ``cycles`` are core cycles, or instructions on a virtual board."""

    scores: npt.NDArray[np.int32]
    label: int
    cycles: int


@dataclass(frozen=True)
class Step:
    """One entry of the device's call list, and the tensor that it leaves."""

    name: str
    kernel: str
    macs: int
    out_count: int
    out_type: int


@dataclass(frozen=True)
class MemoryMarks:
    """High-water marks in bytes. ``stack_bytes`` is 0 where the stack cannot be measured (host)."""

    stack_bytes: int
    stack_used_bytes: int
    arena_bytes: int
    buffer_bytes: int
    image_bytes: int


@dataclass(frozen=True)
class LinkStats:
    """What the device has received since it started."""

    frames: int
    crc_errors: int
    overflows: int
    malformed: int
    duplicates: int


class Reader:
    """Takes fields from a payload in order; ``what`` names it in errors."""

    def __init__(self, payload: bytes, what: str) -> None:
        self._payload, self._at, self._what = payload, 0, what

    def take(self, layout: str) -> tuple[int, ...]:
        """The next fields, in ``struct`` notation, little-endian and unpadded."""
        fields = struct.Struct("<" + layout)
        return fields.unpack(self.raw(fields.size))

    def raw(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        data = self._payload[self._at : self._at + count]
        if len(data) != count:
            raise ProtocolError(
                f"the device's reply to {self._what} is cut at {len(self._payload)} bytes",
                "flash firmware of this version of tinyrobust: tinyrobust flash",
            )
        self._at += count
        return data

    def name(self) -> str:
        """A length byte and that many characters."""
        return self.raw(self.take("B")[0]).decode("utf-8", "replace")

    @property
    def left(self) -> int:
        """Bytes not taken yet."""
        return len(self._payload) - self._at

    def end(self) -> None:
        """Raises ProtocolError unless everything was taken."""
        if self.left:
            raise ProtocolError(
                f"the device's reply to {self._what} has {self.left} bytes too many",
                "flash firmware of this version of tinyrobust: tinyrobust flash",
            )


def parse_hello(payload: bytes, image_sha256: str = "") -> Hello:
    """The reply to HELLO; the image's hash comes from IMAGE_HASH."""
    read = Reader(payload, "hello")
    version, flags, chunk = read.take("BBH")
    window, baud, baud_max, clock_hz, image_bytes, input_bytes = read.take("6I")
    height, width, channels, classes, step_count = read.take("5H")
    frac_bits, _, arena_bytes, buffer_bytes = read.take("bBII")
    graph = read.raw(32).hex()
    board, model = read.name(), read.name()
    read.end()
    hello = Hello(
        board, model, graph, image_sha256, image_bytes, (height, width, channels), classes,
        frac_bits, step_count, clock_hz, bool(flags & FLAG_VIRTUAL), version, chunk, window, baud,
        baud_max, arena_bytes, buffer_bytes,
    )  # fmt: skip
    if hello.input_bytes != input_bytes or classes == 0:
        raise ProtocolError(
            f"the device says {input_bytes} input bytes for shape {hello.input_shape}, "
            f"{classes} classes",
            "build and flash the firmware again: tinyrobust flash",
        )
    return hello


def parse_inference(payload: bytes, classes: int) -> Inference:
    """The reply to INFER, for a model of ``classes`` classes."""
    read = Reader(payload, "infer")
    label, count, cycles = read.take("HHI")
    scores = np.frombuffer(read.raw(4 * count), "<i4").astype(np.int32)
    read.end()
    if count != classes or label != int(scores.argmax()):
        raise ProtocolError(
            f"the device answers class {label} with {count} scores whose largest is not that one",
            "build and flash the firmware again: tinyrobust flash",
        )
    return Inference(scores, label, cycles)


def parse_steps(payload: bytes) -> tuple[int, list[Step]]:
    """The reply to STEPS: index of the first step in it, and as many as it holds."""
    read = Reader(payload, "steps")
    (first,) = read.take("H")
    steps: list[Step] = []
    while read.left:
        macs, count, kind = read.take("IIB")
        if kind not in ELEMENT_TYPES:
            raise ProtocolError(
                f"step {first + len(steps)} has the unknown element type {kind}",
                "flash firmware of this version: tinyrobust build, tinyrobust flash",
            )
        steps.append(Step(read.name(), read.name(), macs, count, kind))
    return first, steps


def parse_layer_cycles(payload: bytes) -> tuple[int, list[int]]:
    """The reply to LAYER_CYCLES: the inference's sequence number, and cycles per step."""
    read = Reader(payload, "layer-cycles")
    sequence, count = read.take("HH")
    cycles = list(read.take(f"{count}I"))
    read.end()
    return sequence, cycles


def parse_memory(payload: bytes) -> MemoryMarks:
    """The reply to MEMORY."""
    read = Reader(payload, "memory")
    marks = MemoryMarks(*read.take("5I"))
    read.end()
    return marks


def parse_link_stats(payload: bytes) -> LinkStats:
    """The reply to LINK_STATS."""
    read = Reader(payload, "link-stats")
    stats = LinkStats(*read.take("5I"))
    read.end()
    return stats


def parse_image_hash(payload: bytes) -> tuple[int, str]:
    """The reply to IMAGE_HASH: bytes hashed, and the hex SHA-256."""
    read = Reader(payload, "image-hash")
    (count,) = read.take("I")
    digest = read.raw(32).hex()
    read.end()
    return count, digest


@dataclass(frozen=True)
class TraceData:
    """A piece of a step's tensor: ``values`` from element ``offset`` of ``total`` on."""

    step: int
    offset: int
    total: int
    values: npt.NDArray[np.int32]


def parse_trace_data(payload: bytes) -> TraceData:
    """One TRACE_DATA frame."""
    read = Reader(payload, "trace")
    step, kind, _, offset, total = read.take("HBBII")
    element = ELEMENT_TYPES.get(kind)
    data = read.raw(read.left)
    if element is None or not data or len(data) % element.itemsize:
        raise ProtocolError(
            f"a piece of step {step} has type {kind} and {len(data)} bytes",
            "flash firmware of this version: tinyrobust build, tinyrobust flash",
        )
    values = np.frombuffer(data, element).astype(np.int32)
    if offset + len(values) > total:
        raise ProtocolError(
            f"a piece of step {step} ends at {offset + len(values)} of {total}",
            "flash firmware of this version: tinyrobust build, tinyrobust flash",
        )
    return TraceData(step, offset, total, values)
