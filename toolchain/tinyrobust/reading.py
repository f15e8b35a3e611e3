"""Reading what others wrote: bounded in size and depth, every fault one typed line.

In: a path, or bytes and where they come from. Out: bytes, or the document in them as the type that
is asked for. A device or a FIFO that never ends is read no further than the limit.
"""

from __future__ import annotations

import json
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tinyrobust.errors import TinyRobustError

MAX_JSON_BYTES = 64 << 20
# What numpy.load and zipfile raise on damaged archives: a version or a password that they do not
# know are RuntimeErrors.
NPZ_DAMAGE = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, lzma.LZMAError, struct.error, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
MAX_SHOWN = 60  # characters of a value in a message
Type = TypeVar("Type")
Error = type[TinyRobustError]


def bounded(path: Path, most: int, error: Error = TinyRobustError, hint: str = "") -> bytes:
    """The content of ``path``; raises ``error``: it cannot be read, has over ``most`` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as failure:
        raise error(
            f"cannot read {path}: {failure.strerror}", hint or "check the path"
        ) from failure
    except ValueError as failure:  # a NUL in the path
        raise error(f"cannot read {path!r}: {failure}", hint or "check the path") from failure
    if len(data) > most:
        raise error(
            f"{path} has more than {most:,} bytes", hint or "check that it is the right file"
        )
    return data


def document(
    data: bytes | str, where: object, error: Error = TinyRobustError, hint: str = ""
) -> Any:
    """The JSON in ``data``; raises ``error`` naming ``where``. Keys of an object are told apart."""
    try:
        return json.loads(data, object_pairs_hook=_once)
    except UnicodeDecodeError as failure:
        raise error(f"{where} is damaged: not UTF-8 text (byte {failure.start})", hint) from failure
    except RecursionError as failure:
        raise error(f"{where} is damaged: it nests too deep for JSON here", hint) from failure
    except ValueError as failure:
        raise error(f"{where} is damaged: not JSON: {failure}", hint) from failure


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has one key twice")
    return made


def typed(
    kind: type[Type] | TypeAdapter[Type], value: Any, where: object,
    error: Error = TinyRobustError, hint: str = "",
) -> Type:  # fmt: skip
    """``value`` as ``kind``, nothing converted; raises ``error`` naming ``where`` and the field."""
    adapter: TypeAdapter[Type] = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    try:
        return adapter.validate_python(value)
    except ValidationError as failure:
        raise error(f"{where} is damaged: {fault(failure)}", hint) from failure
    except RecursionError as failure:
        raise error(f"{where} is damaged: it nests too deep", hint) from failure


def fault(failure: ValidationError) -> str:
    """The first fault of a validation, in a line: the field, what is wrong, what is there."""
    first = failure.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    shown = repr(first["input"])
    got = f" (got {shown})" if len(shown) <= MAX_SHOWN and first["type"] != "missing" else ""
    return f"{place or 'the document'}: {first['msg']}{got}"


def guarded(
    work: Callable[[], Type], where: object, error: Error = TinyRobustError, hint: str = ""
) -> Type:
    """What ``work`` makes of a checked document. Its schema says what each field is, not that the
    fields fit one another (a series that no batch has): what that raises becomes ``error``."""
    try:
        return work()
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
    ) as failure:
        said = " ".join(str(failure).split())
        raise error(
            f"{where} is damaged: its parts do not fit one another "
            f"({type(failure).__name__}: {said:.80})",
            hint,
        ) from failure
