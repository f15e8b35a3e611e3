"""The C identifier of a library: the first word of everything that it defines.

In: a model's name. Out: an identifier that is no keyword of C or C++ and no macro of Arduino's
headers, so that two libraries and any sketch can stand in one program.
"""

from __future__ import annotations

import re

from tinyrobust.errors import TinyRobustError

MAX_LENGTH = 40
# C17 and C++20 keywords; then names that a standard header or Arduino.h has.
_TAKEN = frozenset(
    word
    for line in (
        "alignas alignof and asm auto bool break case catch char class compl concept const",
        "consteval constexpr constinit continue decltype default delete do double else enum",
        "explicit export extern false float for friend goto if inline int long mutable namespace",
        "new noexcept not nullptr operator or private protected public register requires restrict",
        "return short signed sizeof static struct switch template this throw true try typedef",
        "typeid typename union unsigned using virtual void volatile wchar_t while xor",
        "main abs min max round radians degrees sq constrain bit byte word boolean std tr setup",
        "loop arduino string stdio stdlib stdint stddef math assert errno signal time",
    )
    for word in line.split()
)


def identifier(text: str) -> str:
    """``text`` as a lower-case identifier; raises TinyRobustError when nothing of it can be."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:MAX_LENGTH].strip("_")
    if not name:
        raise TinyRobustError(
            f"'{text}' has no letter or digit to name a library by", "give one with --name"
        )
    if name in _TAKEN or re.match(r"\d|[a-z]\d*$", name):  # B0, F and the like are macros
        name = f"model_{name}"
    return name
