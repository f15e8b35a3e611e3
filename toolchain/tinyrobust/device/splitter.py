"""Stage ``device``, splitter: what bytes on a serial line are: frames of ours, text, or neither.

In: bytes in pieces of any size. Out: what they are, in order, as ``Frame``, ``Text`` or ``Raw``. A
frame stands between zero bytes and begins, COBS-encoded, with a code and the version (see
``firmware/protocol/PROTOCOL.md``, "Frame"), so its second byte is a control code that no text has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinyrobust.device import wire
from tinyrobust.device.framing import Frame, decode

_LONGEST = 2 * (wire.HEADER_BYTES + wire.MAX_PAYLOAD + wire.CRC_BYTES)
_LATER_VERSIONS = 8  # below the control codes that text has
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours
_RAW_BYTES = 64  # on one line


@dataclass(frozen=True)
class Text:
    """A line that somebody printed, without its end."""

    text: str


@dataclass(frozen=True)
class Raw:
    """Bytes that are neither; ``cut``: they began like a frame but are none, or its CRC differs."""

    data: bytes
    cut: bool = False


Piece = Frame | Text | Raw


class Splitter:
    """One direction of one line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that ``data`` completes."""
        *blocks, self._rest = (self._rest + data).split(b"\0")
        pieces: list[Piece] = []
        for block in filter(None, blocks):
            frame = decode(block)
            pieces += [frame] if frame is not None else _plain(block)
        if not _may_be_frame(self._rest):
            lines, newline, self._rest = self._rest.rpartition(b"\n")
            pieces += _plain(lines + newline)
        if len(self._rest) > _LONGEST:
            pieces += self.flush()
        return pieces

    @property
    def waiting(self) -> bool:
        """Whether something has begun and not ended."""
        return bool(self._rest)

    def flush(self) -> list[Piece]:
        """What has begun and was not ended, when nothing more comes."""
        rest, self._rest = self._rest, b""
        return _plain(rest)


def _may_be_frame(block: bytes) -> bool:
    return len(block) < 2 or 0 < block[1] < _LATER_VERSIONS


def _plain(data: bytes) -> list[Piece]:
    """Lines of text, or bytes."""
    if not data:
        return []
    if (text := printable(data)) is not None:
        return [Text(line) for line in text.splitlines() if line]
    cut = len(data) > 1 and _may_be_frame(data)
    return [Raw(data[at : at + _RAW_BYTES], cut) for at in range(0, len(data), _RAW_BYTES)]


def printable(data: bytes) -> str | None:
    """``data`` as text that may be shown on a terminal, None when it is none."""
    try:
        text = _ESCAPES.sub("", data.decode())
    except UnicodeDecodeError:
        return None
    text = text.replace("\t", "    ").replace("\r\n", "\n").replace("\r", "\n")
    return text if all(c.isprintable() or c == "\n" for c in text) else None
