"""Stage ``device``, session: everything a host asks of a flashed board.

In: a port, samples (``graph/ports.py``) or arrays by the inputs' names. Out: outputs, cycles,
per-step tensors, states, memory marks, hashes.
LinkError: the port or the device is not there. ProtocolError: it refuses, or runs another image.
DeviceFault: it was reset or faulted in mid-run. Never a wrong result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.device import wire
from tinyrobust.device.link import ATTEMPTS, RESEND, FaultProbe, Link
from tinyrobust.device.transport import SerialTransport, Transport
from tinyrobust.device.wire import Hello, Inference, LinkStats, MemoryMarks, Step
from tinyrobust.errors import DeviceFault, LinkError, ProtocolError

DEFAULT_TIMEOUT_S = 5.0
# Where a device may have been left by a program that was killed, most likely first.
_RATES = (921600, 2000000, 1000000, 460800, 1500000, 3000000, 230400)
_CONFIRM_ATTEMPTS = 3
_TRACE_ATTEMPTS = 8

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Batch:
    """Answers to N inputs: int32 ``scores`` (N, elements of all outputs), int64 ``cycles`` (N,)."""

    scores: npt.NDArray[np.int32]
    cycles: npt.NDArray[np.int64]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """What a classifier's scores say: the largest of each, int64 (N,)."""
        return self.scores.argmax(axis=1).astype(np.int64)


class Session:
    """A conversation with one board; a context manager. Make it with ``Session.open``."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._steps: list[Step] | None = None
        self._last_image: bytes | None = None
        self._last_sequence = 0
        self._broken = False
        self.hello: Hello = self._connect()

    @classmethod
    def open(
        cls,
        port: str,
        *,
        baud: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        fault: FaultProbe | None = None,
    ) -> Session:
        """Open ``port``, find the device, and raise the baud rate.

        ``baud``: None for the fastest that board and port both can, else this one. ``timeout_s``:
        how long one answer may take before it is asked for again, so longer than one inference.
        ``fault``: of a virtual board, its report when it has faulted.
        Raises LinkError, ProtocolError, DeviceFault.
        """
        return cls.over(
            SerialTransport(port, wire.BAUD_BASE), baud=baud, timeout_s=timeout_s, fault=fault
        )

    @classmethod
    def over(
        cls,
        transport: Transport,
        *,
        baud: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        fault: FaultProbe | None = None,
    ) -> Session:
        """As ``open``, over any transport; closes it when the device is not found."""
        try:
            session = cls(Link(transport, timeout_s=timeout_s, fault=fault))
            session._choose_baud(baud)
        except BaseException:
            transport.close()
            raise
        return session

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._broken = self._broken or kind is not None
        self.close()

    def close(self) -> None:
        """Leave the device at the base rate, where the next program looks first; free the port."""
        if self._link.baud != wire.BAUD_BASE and not self._broken:
            with contextlib.suppress(LinkError, ProtocolError, DeviceFault):
                base = wire.BAUD_BASE.to_bytes(4, "little")
                self._link.ask(wire.SET_BAUD, base, 0.5)
        self._link.transport.close()

    # -- meeting the device ----------------------------------------------------------------

    def _connect(self) -> Hello:
        """Find the device, at the base rate or where a killed program left it."""
        link = self._link
        patience = min(1.0, link.timeout_s)
        plan = [(wire.BAUD_BASE, patience)] * 2
        plan += [(rate, min(0.3, patience)) for rate in _RATES]
        plan += [(wire.BAUD_BASE, patience)] * 2 + [(wire.BAUD_BASE, min(3.0, link.timeout_s))]
        link.new_session()
        sequence = link.next_sequence()  # one for all, so that a late answer counts
        for rate, wait in plan:
            if rate != link.baud:
                try:
                    link.set_baud(rate)
                except LinkError:  # a rate that this port cannot: the device is not there either
                    continue
            # Replies to an older session's requests carry its number and are dropped.
            payload = link.ask(wire.HELLO, b"", wait, sequence)
            if payload is not None:
                hello = wire.parse_hello(payload)
                return dataclasses.replace(
                    wire.parse_hello(payload, self._hash_of(hello)),
                    inputs=self._tensors(wire.INPUTS, hello.input_count, hello.input_bytes),
                    outputs=self._tensors(wire.OUTPUTS, hello.output_count, hello.output_bytes),
                    states=self._tensors(wire.STATES, hello.state_count, hello.state_bytes),
                )
        raise link.silence("hello", len(plan))

    def _tensors(self, kind: int, count: int, size: int) -> tuple[wire.Tensor, ...]:
        """The device's inputs, outputs or states, ``size`` bytes in all."""
        found: list[wire.Tensor] = []
        while len(found) < count:
            asked = bytes([kind, 0]) + len(found).to_bytes(2, "little")
            answered, first, more = wire.parse_tensors(self._link.call(wire.TENSORS, asked))
            if (answered, first) != (kind, len(found)) or not more:
                raise ProtocolError(f"asked for tensors from {len(found)} on, got {len(more)}")
            found += more
        if len(found) != count or sum(tensor.bytes for tensor in found) != size:
            raise ProtocolError(
                f"the device lists {len(found)} tensors of {sum(t.bytes for t in found)} bytes, "
                f"not {count} of {size}",
                "build and flash the firmware again: tinyrobust flash",
            )
        return tuple(found)

    def _hash_of(self, hello: Hello) -> str:
        count, digest = wire.parse_image_hash(self._link.call(wire.IMAGE_HASH))
        if count != hello.image_bytes:
            raise ProtocolError(
                f"the device hashed {count} bytes of an image of {hello.image_bytes}",
                "flash it again: tinyrobust flash",
            )
        return digest

    def check_image(self, expected_sha256: str) -> None:
        """Raises ProtocolError when the device runs another image than ``expected_sha256``."""
        found = self.hello.image_sha256
        if found != expected_sha256.lower():
            raise ProtocolError(
                f"the device runs another image: {self.hello.model} for {self.hello.board}, "
                f"SHA-256 {found[:12]}..., not {expected_sha256[:12]}...",
                "flash the one you built: tinyrobust flash",
            )

    # -- baud rate -------------------------------------------------------------------------

    @property
    def baud(self) -> int:
        """The rate in use."""
        return self._link.baud

    @property
    def retries(self) -> int:
        """Requests that had to be sent again so far."""
        return self._link.retries

    def _choose_baud(self, wanted: int | None) -> None:
        if wanted is not None:
            if wanted != self.baud and self.negotiate(wanted) != wanted:
                raise LinkError(
                    f"{self._link.transport.name}: no connection at {wanted} baud",
                    f"choose a lower rate (the board says at most {self.hello.baud_max})",
                )
            return
        most = self.hello.baud_max
        for rate in sorted({most, *(r for r in _RATES if r < most)}, reverse=True):
            if rate <= self.baud or (self._port_can(rate) and self.negotiate(rate) == rate):
                return

    def _port_can(self, baud: int) -> bool:
        """Whether this computer's port takes the rate, before the device is asked to change."""
        before = self.baud
        try:
            self._link.set_baud(baud)
        except LinkError:
            return False
        finally:
            self._link.set_baud(before)
        return True

    def negotiate(self, baud: int) -> int:
        """Change the rate on both sides; the rate that holds afterwards.

        The device goes back to the old one when nothing valid reaches it at the new one within
        ``wire.BAUD_CONFIRM_MS``, and so does the host. Raises ProtocolError when the board cannot
        do ``baud``, LinkError when the device is lost.
        """
        link = self._link
        before = link.baud
        if baud == before:
            return baud
        wait = min(0.25, link.timeout_s)
        # Whether or not the reply gets through, the device may have changed: look at both rates.
        link.ask(wire.SET_BAUD, baud.to_bytes(4, "little"), wait)
        for rate in (baud, before, baud, before):
            link.set_baud(rate)
            if self._confirms(wait):
                return rate
            time.sleep(wire.BAUD_CONFIRM_MS / 1000 if rate == baud else 0)
        raise link.silence("set-baud", 4 * _CONFIRM_ATTEMPTS)

    def _confirms(self, wait_s: float) -> bool:
        return any(
            self._link.ask(wire.PING, b"baud", wait_s) is not None for _ in range(_CONFIRM_ATTEMPTS)
        )

    # -- inference -------------------------------------------------------------------------

    def infer(self, image: Images) -> Inference:
        """Run one sample. Raises as ``infer_many``."""
        batch = self.infer_many(image[np.newaxis])
        return Inference(batch.scores[0], int(batch.cycles[0]))

    def infer_many(
        self, images: Images, *, progress: Callable[[int, int], None] | None = None
    ) -> Batch:
        """Run samples, uint8 (N, *hello.input_shape), in order; ``progress(done, total)`` after
        each. A network with states goes on from where it is (``reset_state``).

        Cycles are those of the network alone, without the link (PROTOCOL.md, "Cycles").
        Raises ProtocolError for samples of another shape or type, LinkError, DeviceFault.
        """
        self._check_images(images)
        data = [image.tobytes() for image in images]
        answers = self._stream(data, progress)
        scores = np.zeros((len(data), self.hello.classes), np.int32)
        for index, answer in enumerate(answers):
            scores[index] = answer.scores
        return Batch(scores, np.array([answer.cycles for answer in answers], np.int64))

    def run(self, values: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.int32]]:
        """The outputs by name, int32, of one run on integers by the inputs' names, as the device
        takes them (``hello.inputs``). Raises as ``infer_many``."""
        inputs = self.hello.inputs
        if set(values) != {tensor.name for tensor in inputs}:
            raise ProtocolError(
                f"the device's model takes {', '.join(t.name for t in inputs)}; got "
                f"{', '.join(values) or 'nothing'}"
            )
        data = b"".join(_encoded(tensor, values[tensor.name]) for tensor in inputs)
        (answer,) = self._stream([data], None)
        found, at = {}, 0
        for tensor in self.hello.outputs:
            found[tensor.name] = answer.scores[at : at + tensor.count].reshape(tensor.shape)
            at += tensor.count
        return found

    # -- state -----------------------------------------------------------------------------

    def reset_state(self) -> None:
        """Give every state of the network its first value again."""
        self._link.call(wire.RESET_STATE)

    def states(self) -> npt.NDArray[np.int32]:
        """Every element of every state as it is now, end to end; empty where there is none."""
        data = b""
        while len(data) < self.hello.state_bytes:
            data += self._piece(wire.STATES, 0, len(data), self.hello.state_bytes)
        return wire.integers(self.hello.states, data)

    def _piece(self, kind: int, sequence: int, offset: int, total: int) -> bytes:
        """Outputs of the inference ``sequence``, or states, from ``offset`` on: one piece."""
        asked = sequence.to_bytes(2, "little") + bytes([kind, 0]) + offset.to_bytes(4, "little")
        data = self._link.call(wire.GET, asked)
        if len(data) != min(total - offset, self.hello.chunk_bytes):
            raise ProtocolError(f"asked for bytes from {offset} of {total} on, got {len(data)}")
        return data

    def _stream(
        self, data: list[bytes], progress: Callable[[int, int], None] | None
    ) -> list[Inference]:
        """Run every input; the answers in the inputs' order."""
        answers: dict[int, Inference] = {}
        for index, sequence, payload in self._link.stream(data, self.hello.max_batch):
            answers[index] = self._answer(sequence, payload)
            if index == len(data) - 1:
                self._last_image, self._last_sequence = data[-1], sequence
            if progress:
                progress(len(answers), len(data))
        return [answers[index] for index in range(len(data))]

    def _answer(self, sequence: int, payload: bytes) -> Inference:
        """The whole answer; what did not fit into its first frame is fetched."""
        cycles, total, data = wire.parse_inference(payload)
        if total != self.hello.output_bytes:
            raise ProtocolError(f"an answer of {total} bytes, not of {self.hello.output_bytes}")
        while len(data) < total:
            data += self._piece(wire.OUTPUTS, sequence, len(data), total)
        return Inference(wire.integers(self.hello.outputs, data), cycles)

    def _check_images(self, images: Images) -> None:
        if images.dtype != np.uint8 or images.shape[1:] != self.hello.input_shape:
            raise ProtocolError(
                f"images are {images.dtype} {images.shape[1:]}, the device's model takes uint8 "
                f"{self.hello.input_shape}",
                "use the task that the model was trained for",
            )

    def steps(self) -> list[Step]:
        """The device's call list."""
        while self._steps is None or len(self._steps) < self.hello.step_count:
            have = self._steps or []
            reply = self._link.call(wire.STEPS, len(have).to_bytes(2, "little"))
            first, more = wire.parse_steps(reply)
            if first != len(have) or not more:
                raise ProtocolError(
                    f"asked for steps from {len(have)} on, got {len(more)}",
                    "flash firmware of this version: tinyrobust build, tinyrobust flash",
                )
            self._steps = have + more
        return self._steps

    def layer_cycles(self) -> list[tuple[str, int]]:
        """Step names and cycles of the last image of the last ``infer`` or ``infer_many``.

        Should the device have run another one after it (a request repeated for nothing), the image
        is run again. Raises ProtocolError when there was no inference, LinkError, DeviceFault.
        """
        if self._last_image is None:
            raise ProtocolError("there are no layer cycles yet", "run an inference first")
        steps = self.steps()
        for _ in range(ATTEMPTS):
            sequence, cycles = wire.parse_layer_cycles(self._link.call(wire.LAYER_CYCLES))
            if len(cycles) != len(steps):
                raise ProtocolError(
                    f"cycles of {len(cycles)} steps, the device has {len(steps)}",
                    "flash firmware of this version: tinyrobust build, tinyrobust flash",
                )
            if sequence == self._last_sequence:
                return [(step.name, spent) for step, spent in zip(steps, cycles, strict=True)]
            self._stream([self._last_image], None)
        raise self._link.silence("layer-cycles", ATTEMPTS)

    def trace(self, image: Images) -> dict[str, npt.NDArray[np.int32]]:
        """Every step's output tensor for one sample, flat, by step name, as the device stores it.

        A network with states goes one run further by this. Steps that share a name (none should)
        would hide one another: ProtocolError.
        """
        self._check_images(image[np.newaxis])
        self._last_image = None  # the device forgets the last inference's cycles
        steps = self.steps()
        if len({step.name for step in steps}) != len(steps):
            raise ProtocolError(
                "the device's model has two steps of one name",
                "flash firmware of this version: tinyrobust build, tinyrobust flash",
            )
        collected = _Tensors(steps)
        for attempt in range(_TRACE_ATTEMPTS):
            self._link.retries += attempt > 0
            missing = collected.missing()
            if not missing:
                break
            if attempt and self.hello.state_bytes:
                raise LinkError(
                    f"{self._link.transport.name}: a piece of the trace was lost, and the states "
                    "of the network have moved on",
                    "reset the state and run the sequence again",
                )
            self._trace_once(image.tobytes(), missing[0], missing[-1], collected)
        if collected.missing():
            raise self._link.silence("trace", _TRACE_ATTEMPTS)
        return collected.values()

    def _trace_once(self, data: bytes, first: int, last: int, collected: _Tensors) -> None:
        """Ask for the tensors of steps first..last and keep whatever arrives."""
        link = self._link
        sequence = link.next_sequence()
        span = first.to_bytes(2, "little") + last.to_bytes(2, "little")
        link.transport.write(link.put_and(wire.TRACE, sequence, data, span))
        while frame := link.receive(link.timeout_s):
            if frame.sequence != sequence:
                continue
            if frame.type == wire.TRACE_DATA:
                collected.add(wire.parse_trace_data(frame.payload))
            elif frame.type == wire.TRACE | wire.REPLY:
                return
            elif frame.type == wire.ERROR:
                if frame.payload[:1] in RESEND:
                    return
                raise link.refusal(frame)

    # -- the device itself -----------------------------------------------------------------

    def memory(self) -> MemoryMarks:
        """High-water marks since the device's start."""
        return wire.parse_memory(self._link.call(wire.MEMORY))

    def image_hash(self) -> str:
        """SHA-256 that the device computes now over its own flash, hex."""
        return self._hash_of(self.hello)

    def link_stats(self) -> LinkStats:
        """What the device received, good and bad."""
        return wire.parse_link_stats(self._link.call(wire.LINK_STATS))

    def reconnect(self) -> Session:
        """Meet the device again after it was reset or fell silent; this session, for the next run.

        Raises DeviceFault when it has faulted for good, LinkError when it is not there, and
        ProtocolError when it runs another image than before.
        """
        before, image = self.baud, self.hello.image_sha256
        self._link.check_fault()
        self._link.set_baud(wire.BAUD_BASE)
        self._last_image = None
        self._steps = None
        self.hello = self._connect()
        self.check_image(image)
        self.negotiate(before)
        return self

    def reset(self) -> None:
        """Restart the device and meet it again at the rate in use before.

        Raises LinkError when it does not come back.
        """
        before = self.baud
        with contextlib.suppress(DeviceFault):  # a repeated request can meet it restarted
            self._link.ask(wire.RESET, b"", self._link.timeout_s)
        self._link.check_fault()
        self._link.set_baud(wire.BAUD_BASE)
        self._last_image = None
        self.hello = self._connect()
        self.negotiate(before)


def _encoded(tensor: wire.Tensor, values: npt.NDArray[Any]) -> bytes:
    """``values`` as the bytes of ``tensor``. Raises ProtocolError."""
    kind = wire.ELEMENT_TYPES[tensor.type]
    array = np.asarray(values)
    if array.size != tensor.count or not np.issubdtype(array.dtype, np.integer):
        raise ProtocolError(
            f"input '{tensor.name}' takes {kind} {tensor.shape}, got {array.dtype} {array.shape}"
        )
    limits = np.iinfo(kind)
    if not (limits.min <= int(array.min()) and int(array.max()) <= limits.max):
        raise ProtocolError(f"input '{tensor.name}' has values outside {limits.min}..{limits.max}")
    return array.astype(kind).tobytes()


class _Tensors:
    """The steps' tensors as their pieces come, in any order and any number of times."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self._values = [np.zeros(step.out_count, np.int32) for step in steps]
        self._known = [np.zeros(step.out_count, bool) for step in steps]

    def add(self, piece: wire.TraceData) -> None:
        if piece.step >= len(self._steps) or piece.total != self._steps[piece.step].out_count:
            raise ProtocolError(
                f"a piece of step {piece.step} with {piece.total} elements",
                "flash firmware of this version: tinyrobust build, tinyrobust flash",
            )
        span = slice(piece.offset, piece.offset + len(piece.values))
        self._values[piece.step][span] = piece.values
        self._known[piece.step][span] = True

    def missing(self) -> list[int]:
        return [index for index, known in enumerate(self._known) if not known.all()]

    def values(self) -> dict[str, npt.NDArray[np.int32]]:
        return {s.name: v for s, v in zip(self._steps, self._values, strict=True)}
