"""Stage ``device``, frames: bytes of the wire in, checked frames out, and the way back.

Pure functions and one incremental decoder; layout in ``firmware/protocol/PROTOCOL.md``, "Frame".
COBS: Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Trans. Networking 7(2),
1999. CRC-32: IEEE 802.3, as ``zlib.crc32``.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from tinyrobust.device import wire

_HEADER = struct.Struct("<BBHIH")
_CRC = struct.Struct("<I")
_CODES = [bytes([n]) for n in range(256)]


@dataclass(frozen=True)
class Frame:
    """One frame: ``type`` and ``sequence`` of the request, ``session`` that the host chose."""

    type: int
    sequence: int
    session: int
    payload: bytes = b""
    version: int = wire.VERSION


def cobs_encode(data: bytes) -> bytes:
    """``data`` without zero bytes; 1 byte longer, and 1 more per 254 bytes without a zero."""
    out = []
    blocks = data.split(b"\0")
    for index, block in enumerate(blocks):
        last_block = index == len(blocks) - 1
        while len(block) > 254 or (len(block) == 254 and not last_block):
            out += [b"\xff", block[:254]]
            block = block[254:]
        out += [_CODES[len(block) + 1], block]
    return b"".join(out)


def cobs_decode(data: bytes) -> bytes | None:
    """Inverse of ``cobs_encode``; None when ``data`` is no COBS encoding."""
    out = []
    at, end = 0, len(data)
    while at < end:
        code = data[at]
        block = data[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            return None
        out.append(block)
        at += code
        if code != 0xFF and at < end:
            out.append(b"\0")
    return b"".join(out)


def encode(frame: Frame) -> bytes:
    """The bytes on the wire, with a zero byte at either end.

    Raises ValueError when the payload is longer than ``wire.MAX_PAYLOAD``.
    """
    if len(frame.payload) > wire.MAX_PAYLOAD:
        raise ValueError(f"payload of {len(frame.payload)} bytes, at most {wire.MAX_PAYLOAD}")
    header = _HEADER.pack(
        frame.version, frame.type, frame.sequence, frame.session, len(frame.payload)
    )
    raw = header + frame.payload
    return b"\0" + cobs_encode(raw + _CRC.pack(zlib.crc32(raw))) + b"\0"


def decode(block: bytes) -> Frame | None:
    """The frame in the bytes between two zero bytes; None when length or CRC do not agree."""
    raw = cobs_decode(block)
    if raw is None or len(raw) < wire.HEADER_BYTES + wire.CRC_BYTES:
        return None
    body, crc = raw[: -wire.CRC_BYTES], _CRC.unpack(raw[-wire.CRC_BYTES :])[0]
    if zlib.crc32(body) != crc:
        return None
    version, kind, sequence, session, length = _HEADER.unpack_from(body)
    payload = body[wire.HEADER_BYTES :]
    if len(payload) != length:
        return None
    return Frame(kind, sequence, session, payload, version)


class Decoder:
    """Finds frames in a stream of bytes; ``bad`` counts what lay between zeros and was none."""

    _LONGEST = 2 * (wire.HEADER_BYTES + wire.MAX_PAYLOAD + wire.CRC_BYTES)

    def __init__(self) -> None:
        self._rest = b""
        self.bad = 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes, in order."""
        *blocks, self._rest = (self._rest + data).split(b"\0")
        if len(self._rest) > self._LONGEST:  # endless noise without a zero
            self._rest = self._rest[-self._LONGEST :]
        frames = []
        for block in filter(None, blocks):
            frame = decode(block)
            if frame is None:
                self.bad += 1
            else:
                frames.append(frame)
        return frames

    def clear(self) -> None:
        """Forget a frame that has begun."""
        self._rest = b""
