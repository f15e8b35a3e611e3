"""MATLAB 5 files with plain arrays: as much of the format as SVHN's two arrays need.

Comes in: bytes. Goes out: arrays by name. "MAT-File Format", MathWorks, 2019: a header of 128
bytes, then elements: a tag (type, bytes), data, padding to 8 bytes. An array is an element of type
14 (here inside one of type 15: zlib); its parts are flags, dimensions, name and values.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

HEADER_BYTES = 128
MAX_BYTES = 1 << 32  # of one array, unpacked
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_DTYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8"}
_CLASS_DTYPES = {6: "<f8", 7: "<f4", 8: "i1", 9: "u1", 10: "<i2", 11: "<u2", 12: "<i4", 13: "<u4"}

Array = npt.NDArray[np.generic]


def read(data: bytes) -> dict[str, Array]:
    """Every numeric array of the file; raises ValueError when it is none or is cut off."""
    if len(data) < HEADER_BYTES or data[124:128] != b"\x00\x01IM":
        raise ValueError("not a little-endian MATLAB 5 file")
    found: dict[str, Array] = {}
    rest = memoryview(data)[HEADER_BYTES:]
    while len(rest):
        kind, body, rest = _element(rest, padded=False)
        if kind == _COMPRESSED:
            unpacked = zlib.decompressobj()
            try:
                plain = memoryview(unpacked.decompress(body, MAX_BYTES))
            except zlib.error as error:
                raise ValueError(f"damaged: {error}") from error
            kind, body, _ = _element(plain)
        if kind == _MATRIX:
            name, array = _array(body)
            found[name] = array
    return found


def _element(view: memoryview, *, padded: bool = True) -> tuple[int, memoryview, memoryview]:
    """Type and data of the first element, and what comes after it."""
    if len(view) < 8:
        raise ValueError("cut off inside a tag")
    kind, size = struct.unpack("<II", view[:8])
    if kind >> 16:  # a small element: two bytes type, two bytes size, then the data
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise ValueError("a small element claims more than 4 bytes")
        return kind, view[4 : 4 + size], view[8:]
    if 8 + size > len(view):
        raise ValueError(f"cut off: an element of {size:,} bytes has {len(view) - 8:,}")
    return kind, view[8 : 8 + size], view[8 + size + (-size % 8 if padded else 0) :]


def _array(body: memoryview) -> tuple[str, Array]:
    kind, flags, body = _element(body)
    if kind != _UINT32 or len(flags) != 8:
        raise ValueError("an array without flags")
    array_class = flags[0]
    kind, dimensions, body = _element(body)
    if kind != _INT32 or len(dimensions) % 4 or not len(dimensions):
        raise ValueError("an array without dimensions")
    shape = tuple(np.frombuffer(dimensions, "<i4").tolist())
    kind, name, body = _element(body)
    if kind != _INT8:
        raise ValueError("an array without name")
    kind, values, _ = _element(body)
    if array_class not in _CLASS_DTYPES or kind not in _DTYPES or flags[1] & 0x08:
        raise ValueError(f"array '{_text(name)}' is not of plain real numbers")
    flat = np.frombuffer(values, _DTYPES[kind])
    count = 1
    for size in shape:
        count *= max(size, 0)
    if count != flat.size:
        raise ValueError(f"array '{_text(name)}' has {flat.size:,} values for shape {shape}")
    return _text(name), flat.astype(_CLASS_DTYPES[array_class]).reshape(shape, order="F")


def _text(name: memoryview) -> str:
    return bytes(name).decode("ascii", "replace")
