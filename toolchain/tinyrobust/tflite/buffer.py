"""Bounds of a TensorFlow Lite flatbuffer, checked before anything in it is used.

In: a file's bytes. Out: nothing, or ConvertError that says what leaves the file. What passes can
be read with the generated accessors of the ``tflite`` package: every table, vtable, vector and
string that the reader touches lies within the file. FlatBuffers' own verifier is C++ only; the
layout is specified in its "FlatBuffer Internals" (google.github.io/flatbuffers).

Work and memory are bounded by the file's length: a table is checked once however many offsets
point to it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from tinyrobust.errors import ConvertError

IDENTIFIER = b"TFL3"
_HINT = "the file is damaged, truncated or no TensorFlow Lite model; make or download it again"

STRING = "string"
ANY = "any"  # a table of scalars: the options of an operator


@dataclass(frozen=True)
class _Vector:
    of: int | str


# What a field is: a scalar of so many bytes, a string, a table, or a vector of one of them.
Kind = int | str | _Vector

# Table -> field number -> kind, for the fields that the reader uses (tensorflow/lite/schema).
SCHEMA: Mapping[str, Mapping[int, Kind]] = {
    "Model": {
        0: 4, 1: _Vector("OperatorCode"), 2: _Vector("SubGraph"), 4: _Vector("Buffer"),
    },
    "OperatorCode": {0: 1, 1: STRING, 2: 4, 3: 4},
    "SubGraph": {
        0: _Vector("Tensor"), 1: _Vector(4), 2: _Vector(4), 3: _Vector("Operator"), 4: STRING,
    },
    "Tensor": {
        0: _Vector(4), 1: 1, 2: 4, 3: STRING, 4: "Quantization", 5: 1, 6: "Sparsity",
        7: _Vector(4),
    },
    "Sparsity": {0: _Vector(4), 1: _Vector(4), 2: _Vector("DimensionMetadata")},
    "DimensionMetadata": {0: 1, 1: 4, 2: 1, 3: "Indices", 4: 1, 5: "Indices"},
    "Indices": {0: _Vector(1)},  # of elements that DimensionMetadata tells; read with bounds
    "Quantization": {2: _Vector(4), 3: _Vector(8), 4: 1, 6: 4},
    "Operator": {0: 4, 1: _Vector(4), 2: _Vector(4), 3: 1, 4: ANY},
    "Buffer": {0: _Vector(1), 1: 8, 2: 8},
    ANY: {},
}  # fmt: skip


def check(data: bytes, where: str) -> None:
    """Raise ConvertError unless every table that the reader uses lies within ``data``."""
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise ConvertError(
            f"{where} is no TensorFlow Lite model (no '{IDENTIFIER.decode()}')", _HINT
        )
    _Checker(data, where).run()


@dataclass
class _Checker:
    data: bytes
    where: str
    seen: set[tuple[str, int]] = field(default_factory=set)
    waiting: list[tuple[str, int]] = field(default_factory=list)

    def run(self) -> None:
        self._table("Model", self._offset(0, "the root"))
        while self.waiting:
            self._fields(*self.waiting.pop())

    def _table(self, name: str, position: int) -> None:
        if (name, position) not in self.seen:
            self.seen.add((name, position))
            self.waiting.append((name, position))

    def _need(self, position: int, size: int, what: str) -> None:
        if position < 0 or position + size > len(self.data):
            raise ConvertError(
                f"{self.where}: {what} at byte {position} needs {size:,} bytes, the file has "
                f"{len(self.data):,}",
                _HINT,
            )

    def _unpack(self, form: str, position: int, what: str) -> int:
        self._need(position, struct.calcsize(form), what)
        return int(struct.unpack_from(form, self.data, position)[0])

    def _offset(self, position: int, what: str) -> int:
        """Where the unsigned offset at ``position`` points."""
        return position + self._unpack("<I", position, what)

    def _fields(self, name: str, position: int) -> None:
        what = f"table {name}"
        vtable = position - self._unpack("<i", position, what)
        size = self._unpack("<H", vtable, f"vtable of {name}")
        if size < 4 or size % 2:
            raise ConvertError(f"{self.where}: {what} has a vtable of {size} bytes", _HINT)
        self._need(vtable, size, f"vtable of {name}")
        entries = struct.unpack_from(f"<{size // 2}H", self.data, vtable)[2:]
        kinds = SCHEMA[name]
        for number, entry in enumerate(entries):
            if not entry:
                continue
            kind = kinds.get(number, 4 if name == ANY else 0)
            self._field(kind, position + entry, f"field {number} of {name}")

    def _field(self, kind: Kind, position: int, what: str) -> None:
        if isinstance(kind, int):
            self._need(position, kind, what)
        elif kind == STRING:
            self._elements(1, self._offset(position, what), what)
        elif isinstance(kind, _Vector):
            self._elements(kind.of, self._offset(position, what), what)
        else:
            self._table(kind, self._offset(position, what))

    def _elements(self, kind: int | str, position: int, what: str) -> None:
        count = self._unpack("<I", position, what)
        self._need(position + 4, count * (kind if isinstance(kind, int) else 4), what)
        if isinstance(kind, str):
            for i in range(count):
                at = position + 4 + 4 * i
                self._table(kind, self._offset(at, f"element {i} of {what}"))
