"""Stage ``boards``: the checksum of a boot block, which boot ROM and build both compute.

In: bytes. Out: their CRC-32 as the RP2040 datasheet has it ("Checksum"): polynomial 0x04C11DB7,
initial value 0xFFFFFFFF, neither reflected nor inverted, most significant bit first; known as
CRC-32/MPEG-2.
"""

from __future__ import annotations

CRC_BYTES = 4
_POLYNOMIAL, _INITIAL = 0x04C11DB7, 0xFFFFFFFF


def crc(data: bytes) -> int:
    """The CRC of ``data``."""
    value = _INITIAL
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (_POLYNOMIAL if value >> 31 else 0)) & 0xFFFFFFFF
    return value


def is_sealed(block: bytes) -> bool:
    """True when the last word of ``block`` is the CRC of the others, little endian."""
    return int.from_bytes(block[-CRC_BYTES:], "little") == crc(block[:-CRC_BYTES])
