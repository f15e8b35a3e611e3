"""Text from files and names from anywhere, put into other formats as text and nothing else.

In: any text (a file's name, a label, a board's title, a record's field). Out: text that its format
reads as the same words, or as near to them as the format can say, and never as code, markup or a
further line. One function per format; each starts from ``line``.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # control, format (bidi too), surrogates, ...
_BACKTICKS = re.compile(r"`+")
_MARKDOWN = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_MARKDOWN_START = re.compile(r"^([>=]|#(?=[\s#]|$)|-(?=[\s-]|$)|\+(?=\s|$)|\d+(?=[.)](?:\s|$)))")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_KCONFIG = {"\\": "/", '"': "'", "$": "_"}  # $( is a macro, also in strings, and has no escape
_CMAKE = {"\\": "/", '"': "'", "$": "_", ";": ",", "@": "_"}


class Foreign(str):
    """A text from outside. ``finalize`` of a template environment refuses to print one that no
    escape was applied to."""

    __slots__ = ()


def finalize(value: Any) -> Any:
    """For a ``jinja2.Environment``: ``value``, unless it is a Foreign text as it came."""
    if isinstance(value, Foreign):
        raise TypeError("a template prints a text from outside without an escape")
    return value


def line(text: object) -> str:
    """One line without characters that cannot be seen: those as ``\\x1b``, ``\\u202e``."""
    return "".join(map(_seen, str(text)))


def _seen(c: str) -> str:
    if c == " " or (c.isprintable() and unicodedata.category(c) not in _UNSEEN):
        return c
    if c in "\t\n\r":
        return " "
    code = ord(c)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


def comment(text: object) -> str:
    """For a comment of C, C++ or a linker script, of one line or between ``/*`` and ``*/``: it
    neither ends it nor goes on to the next line (backslash, and ``??/``, which may mean one)."""
    return re.sub(
        r"\*(?=/)|/(?=\*)|\?(?=\?)", lambda found: f"{found[0]} ", line(text).replace("\\", "/")
    )


def hash_comment(text: object) -> str:
    """For a comment behind ``#`` of Make, CMake, Kconfig, YAML, a shell or udev. Make goes on to
    the next line behind a backslash, and CMake's ``#[[`` opens a long comment."""
    return line(text).replace("\\", "/").replace("[[", "[ [").replace("[=", "[ =")


def cmake(text: object) -> str:
    """For a quoted or bare argument of CMake: no variable, list or configured ``@NAME@`` in it."""
    return _mapped(line(text), _CMAKE)


def kconfig(text: object) -> str:
    """For a quoted prompt, and for help text, of Kconfig."""
    return _mapped(line(text), _KCONFIG)


def make(text: object) -> str:
    """For a value in a makefile: no variable, function or comment."""
    return line(text).replace("\\", "/").replace("$", "$$").replace("#", "\\#")


def properties(text: object) -> str:
    """For a value of library.properties, which ends with its line."""
    return line(text).strip()


def yaml(text: object) -> str:
    """A YAML string, with its quotes."""
    return '"' + line(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def markdown(text: object) -> str:
    """For Markdown's running text, headings, lists and table cells: no markup, HTML or mathematics.
    Names such as ``conv_1`` stay as they are."""
    plain = line(text).strip()
    plain = _MARKDOWN.sub(lambda found: f"\\{found[0]}", _ENTITY.sub("&amp;", plain))
    plain = plain.replace("<", "&lt;")
    return _MARKDOWN_START.sub(_started, plain)


def _started(found: re.Match[str]) -> str:
    return f"{found[1]}\\" if found[1].isdigit() else f"\\{found[1]}"


def markdown_code(text: object) -> str:
    """A code span of Markdown, also within a table's cell."""
    plain = line(text).replace("|", "\\|")
    fence = "`" * (max(map(len, _BACKTICKS.findall(plain)), default=0) + 1)
    space = " " if plain.startswith("`") or plain.endswith("`") or not plain.strip() else ""
    return f"{fence}{space}{plain}{space}{fence}"


def markdown_block(text: object) -> list[str]:
    """Lines of a fenced code block of Markdown."""
    lines = [line(part) for part in str(text).split("\n")]
    longest = max((len(run) for part in lines for run in _BACKTICKS.findall(part)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *lines, fence]


def xml(text: object) -> str:
    """For XML 1.0 (its section 2.2): characters that it cannot have become visible ones. Markup is
    the XML writer's to escape."""
    return "".join(c if c in "\t\n" or _may_be_xml(c) else _seen(c) for c in str(text))


def _may_be_xml(c: str) -> bool:
    code = ord(c)
    return 0x20 <= code < 0x7F or 0xA0 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code > 0xFFFF


def github(text: object) -> str:
    """For the message of a GitHub workflow command."""
    return str(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def github_property(text: object) -> str:
    """For a property of a GitHub workflow command."""
    return github(text).replace(":", "%3A").replace(",", "%2C")


def github_line(text: object) -> str:
    """For a line of a GitHub log: no workflow command (``::`` at its start, ``##[`` anywhere)."""
    plain = line(text).strip().replace("##[", "# #[")
    return f". {plain}" if plain.startswith("::") else plain


def shell(text: object) -> str:
    """A word of a POSIX shell; one that cannot be seen whole is written as bash's ``$'...'``."""
    plain = str(text)
    if line(plain) == plain:
        return shlex.quote(plain)
    data = plain.encode("utf-8", "surrogateescape")
    return "$'" + "".join(
        chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in data
    ) + "'"  # fmt: skip


def every(value: Any, escape: Callable[[object], str]) -> Any:
    """``value`` (dictionaries, lists, plain data) with ``escape`` applied to every text in it, keys
    too: they are looked up by texts, and ours are the same escaped."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Mapping):
        return {every(key, escape): every(item, escape) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(every(item, escape) for item in value)
    return value


def _mapped(text: str, table: Mapping[str, str]) -> str:
    return text.translate({ord(old): new for old, new in table.items()})
