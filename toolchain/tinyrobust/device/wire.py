"""Stage ``device``, vocabulary: the constants of the wire protocol and its payloads as dataclasses.

In: payload bytes. Out: plain values. The constants equal ``firmware/protocol/wire.h``, and the
offsets ``firmware/protocol/PROTOCOL.md``. ProtocolError: a payload that is not what its type says.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import ProtocolError

VERSION = 2
HEADER_BYTES = 10
CRC_BYTES = 4
MAX_PAYLOAD = 1040
CHUNK_BYTES = 1024
BAUD_BASE = 115200
MAX_STEPS = 128
MAX_NAME = 64
BAUD_CONFIRM_MS = 1000
VIRTUAL_WINDOW_BYTES = 16384

HELLO = 0x01
PING = 0x02
PUT = 0x10
INFER = 0x11
TRACE = 0x12
GET = 0x13
RESET_STATE = 0x14
STEPS = 0x20
LAYER_CYCLES = 0x21
MEMORY = 0x22
IMAGE_HASH = 0x23
LINK_STATS = 0x24
TENSORS = 0x25
SET_BAUD = 0x30
RESET = 0x31
REPLY = 0x80
TRACE_DATA = 0xC0
ERROR = 0xFF

INPUTS = 0
OUTPUTS = 1
STATES = 2

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
    GET: "get",
    RESET_STATE: "reset-state",
    STEPS: "steps",
    LAYER_CYCLES: "layer-cycles",
    MEMORY: "memory",
    IMAGE_HASH: "image-hash",
    LINK_STATS: "link-stats",
    TENSORS: "tensors",
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
class Tensor:
    """An input, output or state of the device's model: ``real = (integer - zero_point) * scale``,
    ``scale`` 0 where the model says none. ``type`` is a key of ELEMENT_TYPES."""

    name: str
    type: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes on the device and on the wire."""
        return self.count * ELEMENT_TYPES[self.type].itemsize


@dataclass(frozen=True)
class Hello:
    """Who answers: the board, the model in its flash, and what the link can carry.

    ``inputs``, ``outputs`` and ``states`` come from TENSORS: empty until a Session has asked.
    """

    board: str
    model: str
    graph_sha256: str
    image_sha256: str
    image_bytes: int
    input_bytes: int
    output_bytes: int
    state_bytes: int
    input_count: int
    output_count: int
    state_count: int
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
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    states: tuple[Tensor, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: of an image where the one input is uint8, else its bytes."""
        one = len(self.inputs) == 1 and ELEMENT_TYPES[self.inputs[0].type] == np.uint8
        return self.inputs[0].shape if one else (self.input_bytes,)

    @property
    def classes(self) -> int:
        """Elements of all outputs; of a classifier its classes."""
        return sum(tensor.count for tensor in self.outputs)

    @property
    def max_batch(self) -> int:
        """Inputs that may be under way at once; 1 when the device is deaf while it computes, when
        the outputs take more than one frame, and when the order of the inputs matters."""
        if self.output_bytes > self.chunk_bytes or self.state_bytes:
            return 1
        pieces = -(-self.input_bytes // CHUNK_BYTES)
        image = self.input_bytes + (pieces + 1) * 30 + self.input_bytes // 254
        reply = 40 + self.output_bytes
        return max(1, min(8, self.window_bytes // image, 2048 // reply))


@dataclass(frozen=True)
class Inference:
    """One answer: every element of every output, end to end. ``cycles`` are core cycles, or
    instructions on a virtual board."""

    scores: npt.NDArray[np.int32]
    cycles: int

    @property
    def label(self) -> int:
        """What a classifier's scores say: the index of the largest, the first of equals."""
        return int(self.scores.argmax())


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

    def take(self, layout: str) -> tuple[Any, ...]:
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
    if version != VERSION:
        raise ProtocolError(
            f"the device speaks protocol {version}, this tinyrobust {VERSION}",
            "build and flash firmware of this version of tinyrobust: tinyrobust flash",
        )
    window, baud, baud_max, clock_hz, image_bytes = read.take("5I")
    input_bytes, output_bytes, state_bytes = read.take("3I")
    inputs, outputs, states, step_count = read.take("4H")
    arena_bytes, buffer_bytes = read.take("II")
    graph = read.raw(32).hex()
    board, model = read.name(), read.name()
    read.end()
    if not (inputs and outputs and input_bytes and output_bytes and chunk):
        raise ProtocolError(
            f"the device says {inputs} inputs of {input_bytes} bytes, {outputs} outputs of "
            f"{output_bytes}, pieces of {chunk}",
            "build and flash the firmware again: tinyrobust flash",
        )
    return Hello(
        board, model, graph, image_sha256, image_bytes, input_bytes, output_bytes, state_bytes,
        inputs, outputs, states, step_count, clock_hz, bool(flags & FLAG_VIRTUAL), version, chunk,
        window, baud, baud_max, arena_bytes, buffer_bytes,
    )  # fmt: skip


def parse_tensors(payload: bytes) -> tuple[int, int, list[Tensor]]:
    """The reply to TENSORS: what they are, the index of the first, and as many as it holds."""
    read = Reader(payload, "tensors")
    kind, _, first = read.take("BBH")
    found: list[Tensor] = []
    while read.left:
        type_, rank, zero_point, scale, *shape = read.take("BBif3I")
        name = read.name()
        if type_ not in ELEMENT_TYPES or not 1 <= rank <= len(shape) or min(shape[:rank]) == 0:
            raise ProtocolError(f"tensor '{name}' has type {type_} and shape {shape[:rank]}")
        sizes = tuple(int(n) for n in shape[:rank])
        found.append(Tensor(name, type_, sizes, float(scale), zero_point))
    return kind, first, found


def parse_inference(payload: bytes) -> tuple[int, int, bytes]:
    """The reply to INFER: cycles, bytes of all outputs, and those that are in it."""
    read = Reader(payload, "infer")
    cycles, total = read.take("II")
    data = read.raw(read.left)
    if len(data) != min(total, CHUNK_BYTES):
        raise ProtocolError(
            f"the device answers {len(data)} of {total} bytes of its outputs",
            "build and flash the firmware again: tinyrobust flash",
        )
    return cycles, total, data


def integers(tensors: Sequence[Tensor], data: bytes) -> npt.NDArray[np.int32]:
    """The elements of ``tensors`` that lie end to end in ``data``, int32, end to end."""
    found, at = [], 0
    for tensor in tensors:
        part = data[at : at + tensor.bytes]
        found.append(np.frombuffer(part, ELEMENT_TYPES[tensor.type]).astype(np.int32))
        at += tensor.bytes
    return np.concatenate([np.zeros(0, np.int32), *found])


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
