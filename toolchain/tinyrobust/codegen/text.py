"""C++ text of constants: arrays, strings, and aggregate initialisers.

In: numbers. Out: lines of at most 100 columns.
"""

from __future__ import annotations

import string as string_module
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def array(section: str, ctype: str, name: str, values: npt.NDArray[Any]) -> str:
    """A constant array in ``section`` (``TR_WEIGHTS`` or ``TR_TABLES``)."""
    if values.dtype == np.uint32:
        items = [f"0x{v:08x}u" for v in values.ravel().tolist()]
    else:
        items = [_int32(v) for v in values.ravel().tolist()]
    body = textwrap.fill(", ".join(items), 96, break_long_words=False)
    return f"{section} constexpr {ctype} {name}[] = {{\n{textwrap.indent(body, '    ')}}};\n"


def _int32(value: int) -> str:
    return "-2147483647 - 1" if value == -(1 << 31) else str(value)


def string(text: str) -> str:
    """A C string literal of the text's UTF-8, with everything unusual escaped."""
    plain = {ord(c) for c in string_module.ascii_letters + string_module.digits + " _-.:/+,()=@"}
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'


def aggregate(values: Sequence[Any], indent: str = "") -> str:
    """``{a, b, ...}`` of numbers, booleans, names and nested aggregates, wrapped and indented."""
    text = "{" + ", ".join(_item(v) for v in values) + "}"
    return textwrap.indent(textwrap.fill(text, 100 - len(indent), break_long_words=False), indent)


def _item(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return aggregate(value)
    return str(value)
