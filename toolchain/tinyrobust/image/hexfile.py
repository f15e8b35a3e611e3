"""Intel HEX, as flashers read it.

In: an address and bytes. Out: text. Format: Intel, "Hexadecimal Object File Format
Specification", revision A (1988): record types 00 data, 01 end, 04 extended linear address.
"""

from __future__ import annotations

_RECORD_BYTES = 16


def encode(base: int, data: bytes) -> str:
    """``data`` at address ``base`` (32 bits) as Intel HEX text."""
    lines = []
    upper = -1
    for offset in range(0, len(data), _RECORD_BYTES):
        address = base + offset
        if address >> 16 != upper:
            upper = address >> 16
            lines.append(_record(4, 0, upper.to_bytes(2, "big")))
        room = 0x10000 - (address & 0xFFFF)
        chunk = data[offset : offset + _RECORD_BYTES]
        if len(chunk) <= room:
            lines.append(_record(0, address & 0xFFFF, chunk))
        else:  # base is not a multiple of 16: the record would cross 64 KiB
            lines.append(_record(0, address & 0xFFFF, chunk[:room]))
            upper += 1
            lines.append(_record(4, 0, upper.to_bytes(2, "big")))
            lines.append(_record(0, 0, chunk[room:]))
    lines.append(_record(1, 0, b""))
    return "\n".join(lines) + "\n"


def _record(kind: int, address: int, data: bytes) -> str:
    body = bytes([len(data)]) + address.to_bytes(2, "big") + bytes([kind]) + data
    return f":{body.hex().upper()}{-sum(body) & 0xFF:02X}"
