"""Stage ``device``, monitor: listens to a board, decoded, while another program may talk to it.

In: an open port and, for the other program, a pseudo-terminal in between. Out: an ``Event`` for
every frame, line of text, run of other bytes, and fault; the bytes themselves pass unchanged. The
port follows the baud rate that the other program sets on the pseudo-terminal.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tinyrobust.device import wire
from tinyrobust.device.describe import Describer
from tinyrobust.device.framing import Frame, encode
from tinyrobust.device.link import FaultProbe
from tinyrobust.device.splitter import Piece, Raw, Splitter, Text
from tinyrobust.device.transport import SerialTransport
from tinyrobust.errors import LinkError, TinyRobustError
from tinyrobust.virtual.terminal import Terminal

_POLL_S = 0.2
_IDLE_S = 0.5  # after so long what has begun is told as it is
_ANSWER_S = 2.0
_RESTART_S = 0.3
_RATES = {
    getattr(termios, name): int(name[1:]) for name in dir(termios) if re.fullmatch(r"B\d+", name)
}
_SPEED = 5  # tcgetattr(3): output speed
_ADDRESS = re.compile(r"\b(?:0x)?([0-9a-fA-F]{8})\b")


class Names(Protocol):
    """What is needed of ``virtual.faults.Symbols``."""

    def function(self, address: int) -> str: ...


@dataclass(frozen=True)
class Known:
    """What is known of the firmware that answers: names of its classes and functions."""

    classes: Sequence[str]
    symbols: Names


@dataclass(frozen=True)
class Event:
    """Something on the line. ``source``: host, board, or monitor; ``kind``: frame, text, bytes,
    fault or note; ``time_s`` since the monitor began."""

    time_s: float
    source: str
    kind: str
    text: str
    fields: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "time_s": round(self.time_s, 6), "source": self.source, "kind": self.kind,
            "text": self.text, **self.fields,
        }  # fmt: skip

    def line(self) -> str:
        """For people."""
        arrow = {"host": "host  >", "board": "board <", "monitor": "      *"}[self.source]
        return f"[{self.time_s:9.3f}] {arrow} {self.text}"


class Monitor:
    """``say`` gets the events; ``meet`` is told the fields of a hello and may know the firmware."""

    def __init__(
        self,
        transport: SerialTransport,
        say: Callable[[Event], None],
        *,
        passthrough: Terminal | None = None,
        fault: FaultProbe = lambda: None,
        meet: Callable[[dict[str, Any]], Known | None] = lambda _hello: None,
        baud: int = wire.BAUD_BASE,
    ) -> None:
        self._port, self._say, self._fault, self._meet = transport, say, fault, meet
        self._through = passthrough
        self._start = time.monotonic()
        self._describe = Describer()
        self._symbols: Names | None = None
        self._streams = {"host": Splitter(), "board": Splitter()}
        self._heard_at = {"host": 0.0, "board": 0.0}
        self._session = secrets.randbelow((1 << 32) - 1) + 1
        self._asked_at: float | None = None
        self._hello_at: float | None = None
        self._reset = False
        self._baud = baud
        if passthrough is not None:
            _set_rate(passthrough.user, baud)

    def know(self, known: Known) -> None:
        """Use these names from now on."""
        self._describe.classes = list(known.classes)
        self._symbols = known.symbols

    def run(self, *, hello: bool = True, reset: bool = False, seconds: float | None = None) -> None:
        """Listen for ``seconds``, or for ever.

        ``hello`` asks the board who it is; ``reset`` restarts it first. Raises LinkError when the
        port is gone, DeviceFault when a virtual board has faulted.
        """
        self._reset = reset
        if hello or reset:
            self._ask(wire.HELLO)
        sources = [self._port.fileno()] + ([self._through.device] if self._through else [])
        end = float("inf") if seconds is None else self._now() + seconds
        while self._now() < end:
            ready = select.select(sources, [], [], _POLL_S)[0]
            if self._through and self._through.device in ready:
                self._from_host(self._through)
            if self._port.fileno() in ready:
                self._from_board()
            self._tell_idle()
            if not ready:
                self._check_fault()

    # -- bytes -----------------------------------------------------------------------------

    def _from_host(self, through: Terminal) -> None:
        rate = _RATES.get(termios.tcgetattr(through.user)[_SPEED], 0)
        if rate and rate != self._baud:
            self._port.set_baud(rate)
            self._baud = rate
            self._note(f"now at {rate:,} baud", baud=rate)
        data = os.read(through.device, 4096)
        self._take("host", data)
        self._port.write(data)

    def _from_board(self) -> None:
        try:
            data = self._port.read()
        except LinkError:
            self._check_fault()
            raise
        if self._through is not None and data:
            with contextlib.suppress(BlockingIOError):  # nobody reads there: as on a wire, gone
                os.write(self._through.device, data)
        self._take("board", data)

    def _take(self, source: str, data: bytes) -> None:
        self._heard_at[source] = self._now()
        self._tell(source, self._streams[source].feed(data))

    def _tell_idle(self) -> None:
        for source, stream in self._streams.items():
            if stream.waiting and self._now() - self._heard_at[source] > _IDLE_S:
                self._tell(source, stream.flush())
        if self._hello_at is not None and self._now() > self._hello_at:
            self._hello_at = None
            self._ask(wire.HELLO)
        if self._asked_at is not None and self._now() - self._asked_at > _ANSWER_S:
            self._asked_at = None
            self._note(
                f"no answer to hello at {self._baud:,} baud: another firmware, another rate "
                "(--baud), or the board hangs"
            )

    def _check_fault(self) -> None:
        report = self._fault()
        if report is None:
            return
        facts = report.as_dict() if hasattr(report, "as_dict") else {}
        self._say(Event(self._now(), "board", "fault", str(report), {"fault": facts}))
        error = report.error() if hasattr(report, "error") else LinkError(str(report))
        assert isinstance(error, TinyRobustError)
        raise error

    # -- events ----------------------------------------------------------------------------

    def _tell(self, source: str, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, Frame):
                self._tell_frame(source, piece)
            elif isinstance(piece, Text):
                self._tell_text(source, piece.text)
            else:
                self._tell_bytes(source, piece)

    def _tell_frame(self, source: str, frame: Frame) -> None:
        said = self._describe(frame)
        mine = frame.session == self._session and source == "host"
        text = f"{said.name}{' reply' if said.reply else ''}" + (f": {said.text}" if said.text
                                                                  else "")  # fmt: skip
        self._say(Event(
            self._now(), "monitor" if mine else source, "frame", text,
            {"name": said.name, "reply": said.reply, "sequence": frame.sequence,
             "session": frame.session, "payload_bytes": len(frame.payload), "fields": said.fields},
        ))  # fmt: skip
        if said.name == "hello" and said.reply and (known := self._meet(said.fields)):
            self.know(known)
        if frame.session == self._session and source == "board":
            self._answered(frame)

    def _tell_text(self, source: str, text: str) -> None:
        names = {}
        if self._symbols is not None:
            for digits in _ADDRESS.findall(text):
                name = self._symbols.function(int(digits, 16))
                if name != "?":
                    names[f"0x{digits.lower()}"] = name
        note = "".join(f"  [{address}: {name}]" for address, name in names.items())
        self._say(Event(self._now(), source, "text", text + note, {"symbols": names}))

    def _tell_bytes(self, source: str, piece: Raw) -> None:
        shown = "".join(chr(b) if 32 <= b < 127 else "." for b in piece.data)
        what = "no valid frame: " if piece.cut else ""
        self._say(Event(
            self._now(), source, "bytes", f"{what}{piece.data.hex(' ')}  |{shown}|",
            {"hex": piece.data.hex(), "bad_frame": piece.cut},
        ))  # fmt: skip

    def _note(self, text: str, **fields: Any) -> None:
        self._say(Event(self._now(), "monitor", "note", text, fields))

    def _now(self) -> float:
        return time.monotonic() - self._start

    # -- questions of the monitor's own ----------------------------------------------------

    def _ask(self, kind: int) -> None:
        frame = Frame(kind, secrets.randbelow(1 << 16), self._session)
        self._tell_frame("host", frame)
        self._port.write(encode(frame))
        self._asked_at = self._now()

    def _answered(self, frame: Frame) -> None:
        self._asked_at = None
        if frame.type == wire.HELLO | wire.REPLY and self._reset:
            self._reset = False
            self._ask(wire.RESET)
        elif frame.type == wire.RESET | wire.REPLY:
            self._hello_at = self._now() + _RESTART_S


def _set_rate(terminal: int, baud: int) -> None:
    speed = next((code for code, rate in _RATES.items() if rate == baud), None)
    if speed is not None:
        settings = termios.tcgetattr(terminal)
        settings[_SPEED - 1] = settings[_SPEED] = speed
        termios.tcsetattr(terminal, termios.TCSANOW, settings)
