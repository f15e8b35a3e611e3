"""UF2, as boot loaders with a drive read it (https://github.com/microsoft/uf2).

In: bytes, the address of the first and a family id. Out: the file: blocks of 512 bytes, each of
which says where its 256 bytes of data go, so that they may arrive in any order.
"""

from __future__ import annotations

import struct

from tinyrobust.errors import BuildError

BLOCK_BYTES = 512
PAYLOAD_BYTES = 256
_MAGIC = (0x0A324655, 0x9E5D5157)
_MAGIC_END = 0x0AB16F30
_FAMILY_PRESENT = 0x2000  # flag: the last header word is a family id
_HEADER = struct.Struct("<8I")


def uf2(data: bytes, address: int, family: int) -> bytes:
    """``data`` for ``address`` as a UF2 file for chips of ``family``.

    The last block is filled up with zeros. Raises BuildError: no data, or ``address`` is no
    multiple of 256.
    """
    if not data or address % PAYLOAD_BYTES:
        raise BuildError(
            f"a UF2 file cannot hold {len(data)} bytes for address {address:#010x}",
            f"the image must start at a multiple of {PAYLOAD_BYTES} bytes",
        )
    count = -(-len(data) // PAYLOAD_BYTES)
    out = bytearray()
    for number in range(count):
        at = number * PAYLOAD_BYTES
        out += _HEADER.pack(*_MAGIC, _FAMILY_PRESENT, address + at, PAYLOAD_BYTES, number, count,
                            family)  # fmt: skip
        out += data[at : at + PAYLOAD_BYTES].ljust(BLOCK_BYTES - 36, b"\0")
        out += struct.pack("<I", _MAGIC_END)
    return bytes(out)
