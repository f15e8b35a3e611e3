"""Stage ``device``, link: requests and replies over a lossy transport, retried or failed.

In: request types and payloads. Out: the payload of the matching reply, once per request, whatever
the wire drops, doubles, flips or cuts. Retry rules: ``firmware/protocol/PROTOCOL.md``, "Retries".
LinkError: nobody answers. ProtocolError: the device refuses. DeviceFault: it was reset or faulted.
"""

from __future__ import annotations

import secrets
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tinyrobust.device import wire
from tinyrobust.device.framing import Decoder, Frame, encode
from tinyrobust.device.transport import Transport
from tinyrobust.errors import DeviceFault, LinkError, ProtocolError

ATTEMPTS = 4
STREAM_ATTEMPTS = 8
# Numbers of inputs that are not given again: more than any window, so the device's last is there.
_KEPT_NUMBERS = 64
_FAULT_POLL_S = 0.25

# Refusals that ask for the input again: a piece was lost.
RESEND = (bytes([wire.E_INCOMPLETE]), bytes([wire.E_IMAGE_CRC]))

FaultProbe = Callable[[], object | None]


@dataclass
class _Flight:
    """A request on its way: the encoded frames, and when it was last sent."""

    index: int
    data: bytes
    order: int = 0
    attempts: int = 0


class Link:
    """One session with one device. ``fault`` asks a virtual board whether it has faulted."""

    def __init__(
        self, transport: Transport, *, timeout_s: float, fault: FaultProbe | None = None
    ) -> None:
        self.transport = transport
        self.timeout_s = timeout_s
        self.session = 0
        self.retries = 0
        self._fault = fault
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self._sequence = secrets.randbelow(1 << 16)
        self._of_inputs: deque[int] = deque(maxlen=_KEPT_NUMBERS)
        self.baud = wire.BAUD_BASE
        self._heard_bytes = False
        self._heard_frame = False

    # -- frames ----------------------------------------------------------------------------

    def new_session(self) -> None:
        """Choose a session number; the device learns it from the next HELLO."""
        self.session = secrets.randbelow((1 << 32) - 1) + 1
        self._frames.clear()
        self._decoder.clear()
        self.transport.discard_input()

    def next_sequence(self) -> int:
        """A sequence number not used for 65,471 requests, nor by one of the last inputs, however
        long ago: the device would take a new input under that number for a repetition."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        while self._sequence in self._of_inputs:
            self._sequence = (self._sequence + 1) & 0xFFFF
        return self._sequence

    def frame(self, kind: int, sequence: int, payload: bytes = b"") -> bytes:
        """The encoded request."""
        return encode(Frame(kind, sequence, self.session, payload))

    def receive(self, timeout_s: float) -> Frame | None:
        """The next frame of this session; None after ``timeout_s`` without one.

        Raises DeviceFault when the device does not know the session any more, or has faulted.
        """
        deadline = time.monotonic() + timeout_s
        next_probe = time.monotonic() + _FAULT_POLL_S
        while True:
            while self._frames:
                frame = self._frames.pop(0)
                if frame.session == self.session:
                    self._check_session(frame)
                    return frame
            data = self.transport.read()
            now = time.monotonic()
            if data:
                self._frames += self._decoder.feed(data)
                self._heard_bytes = True
                self._heard_frame = self._heard_frame or bool(self._frames)
            elif now >= next_probe:
                self.check_fault()
                next_probe = now + _FAULT_POLL_S
            if now >= deadline and not self._frames:
                return None

    def check_fault(self) -> None:
        """Raises DeviceFault when the virtual board says that its firmware has faulted."""
        report = self._fault() if self._fault else None
        if report is not None:
            raise DeviceFault(
                f"the device faulted: {report}",
                "find the layer with tinyrobust verify; please report it",
            )

    def _check_session(self, frame: Frame) -> None:
        if frame.type == wire.ERROR and frame.payload[:1] == bytes([wire.E_SESSION]):
            self.check_fault()
            raise DeviceFault(
                f"{self.transport.name}: the device was reset in mid-run",
                "run again (finished work is kept); if it happens each time, look for a fault "
                "or a watchdog",
            )

    # -- one request -----------------------------------------------------------------------

    def ask(
        self, kind: int, payload: bytes, timeout_s: float, sequence: int | None = None
    ) -> bytes | None:
        """Send a request once; the reply's payload, or None when none came in ``timeout_s``.

        Raises LinkError (the port), ProtocolError, DeviceFault.
        """
        number = self.next_sequence() if sequence is None else sequence
        self.transport.write(self.frame(kind, number, payload))
        deadline = time.monotonic() + timeout_s
        while frame := self.receive(deadline - time.monotonic()):
            if frame.sequence != number:
                continue
            if frame.type == kind | wire.REPLY:
                return frame.payload
            if frame.type == wire.ERROR:
                raise self.refusal(frame)
        return None

    def call(self, kind: int, payload: bytes = b"") -> bytes:
        """Send a request until its reply comes; the reply's payload.

        Raises LinkError, ProtocolError, DeviceFault.
        """
        sequence = self.next_sequence()
        for attempt in range(ATTEMPTS):
            self.retries += attempt > 0
            reply = self.ask(kind, payload, self.timeout_s, sequence)
            if reply is not None:
                return reply
        raise self.silence(wire.COMMAND_NAMES[kind], ATTEMPTS)

    def refusal(self, frame: Frame) -> ProtocolError:
        """The error that an ERROR frame reports."""
        code, about, _, detail = wire.Reader(frame.payload, "a refused request").take("BBHI")
        what = wire.COMMAND_NAMES.get(about, f"command {about:#04x}")
        why = wire.ERROR_NAMES.get(code, f"error {code}")
        hint = "build and flash firmware of this version of tinyrobust: tinyrobust flash"
        if code == wire.E_VERSION:
            return ProtocolError(
                f"the device speaks protocol {detail}, this tinyrobust {wire.VERSION}", hint
            )
        if code == wire.E_NOT_READY:
            hint = "run an inference first"
        return ProtocolError(f"the device refused {what}: {why} ({detail})", hint)

    def set_baud(self, baud: int) -> None:
        """Change this side's rate."""
        self.transport.set_baud(baud)
        self.baud = baud
        self._decoder.clear()

    def silence(self, what: str, attempts: int) -> LinkError | ProtocolError:
        """The error for a request that nobody answered.

        Raises DeviceFault when the device turns out to have been reset: it then listens at the
        base rate and does not know this session.
        """
        self.check_fault()
        if self.baud != wire.BAUD_BASE and self._heard_frame:
            self.set_baud(wire.BAUD_BASE)
            self.transport.write(self.frame(wire.PING, self.next_sequence()))
            self.receive(min(self.timeout_s, 0.5))
        name = self.transport.name
        if self._heard_bytes and not self._heard_frame:
            return ProtocolError(
                f"{name}: something answers, but not with tinyrobust's protocol",
                "is this the right port, and is the board flashed (tinyrobust flash)?",
            )
        return LinkError(
            f"{name}: no answer to {what} after {attempts} attempts of {self.timeout_s:g} s",
            "check the cable and the port, reset the board, and see that it is flashed "
            "(tinyrobust flash)",
        )

    # -- many requests ---------------------------------------------------------------------

    def put_and(self, kind: int, sequence: int, data: bytes, extra: bytes = b"") -> bytes:
        """Encoded frames that carry ``data`` to the device's input, then the request on it."""
        self._of_inputs.append(sequence)
        frames = []
        for offset in range(0, len(data), wire.CHUNK_BYTES):
            piece = offset.to_bytes(4, "little") + data[offset : offset + wire.CHUNK_BYTES]
            frames.append(self.frame(wire.PUT, sequence, piece))
        check = len(data).to_bytes(4, "little") + zlib.crc32(data).to_bytes(4, "little")
        frames.append(self.frame(kind, sequence, check + extra))
        return b"".join(frames)

    def stream(self, images: Sequence[bytes], window: int) -> Iterator[tuple[int, int, bytes]]:
        """Run INFER on every image with at most ``window`` under way.

        Yields (index, sequence, reply payload) as they come: each index once, not always in order.
        The device answers in the order it receives; so when an answer comes to something that was
        sent later than a waiting request, that one or its answer is lost, and it is sent again.
        Raises LinkError, ProtocolError, DeviceFault.
        """
        waiting: dict[int, _Flight] = {}
        started = done = order = silences = 0
        patience_s = self.timeout_s

        def launch(sequence: int, flight: _Flight) -> None:
            nonlocal order
            order += 1
            flight.order = order
            flight.attempts += 1
            if flight.attempts > STREAM_ATTEMPTS:
                raise self.silence(f"infer (image {flight.index})", STREAM_ATTEMPTS)
            self.retries += flight.attempts > 1
            waiting[sequence] = flight
            self.transport.write(flight.data)

        while done < len(images):
            while started < len(images) and len(waiting) < window:
                sequence = self.next_sequence()
                launch(
                    sequence,
                    _Flight(started, self.put_and(wire.INFER, sequence, images[started])),
                )
                started += 1
            frame = self.receive(patience_s)
            if frame is None:
                silences += 1
                if silences == ATTEMPTS:
                    raise self.silence("infer", ATTEMPTS)
                window = max(1, window // 2)  # the line may be slow, so press it less
                patience_s = self.timeout_s * 2 ** (silences - 1)
                for sequence, flight in list(waiting.items()):
                    launch(sequence, flight)
                continue
            answered = waiting.get(frame.sequence)
            if answered is None:
                continue
            overtaken = [s for s, f in waiting.items() if f.order < answered.order]
            if frame.type == wire.INFER | wire.REPLY:
                del waiting[frame.sequence]
                done += 1
                silences, patience_s = 0, self.timeout_s
                yield answered.index, frame.sequence, frame.payload
            elif frame.type == wire.ERROR:
                if frame.payload[:1] not in RESEND:
                    raise self.refusal(frame)
                overtaken.append(frame.sequence)
            for sequence in overtaken:
                launch(sequence, waiting[sequence])
