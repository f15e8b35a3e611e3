"""Every byte of a linked program: which section, which symbol, whose it is.

In: an ELF file, and the linker's map where there is one. Out: an Accounting whose items add up to
the sections, to the byte, and whose totals are those of ``arm-none-eabi-size``. Symbols say what
bytes are called; the map says which object they come from, also where there is no symbol (strings),
and what is only alignment. Without a map what has no symbol is called so.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tinyrobust.errors import BuildError

_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_NOT_SECTIONS = ("SHT_NULL", "SHT_SYMTAB", "SHT_STRTAB", "SHT_GROUP")
_FILL = b"\x00\xff\xbf"  # zeros, erased flash, and Thumb's NOP
PADDING, UNNAMED = "(padding)", "(unnamed)"


@dataclass(frozen=True)
class Section:
    """A section of the ELF; ``load`` is where its content is programmed, None when it is not."""

    name: str
    address: int
    bytes: int
    kind: str  # text, data, bss as `size -B` counts it; "" for what is not in memory
    load: int | None


@dataclass(frozen=True)
class Item:
    """Bytes of one symbol (or of none) in a section. ``origin``: the object file, "" unknown."""

    section: str
    address: int
    bytes: int
    symbol: str
    origin: str


@dataclass(frozen=True)
class Piece:
    """An input section as the map has it; ``origin`` is "" for what the linker script wrote."""

    address: int
    bytes: int
    origin: str


@dataclass(frozen=True)
class Accounting:
    """See the module. ``items`` cover every section that is in memory, once."""

    sections: tuple[Section, ...]
    items: tuple[Item, ...]

    @property
    def text_bytes(self) -> int:
        """Code and constants, as ``size -B`` counts them."""
        return self._of("text")

    @property
    def data_bytes(self) -> int:
        """Initialised data: in flash, and in RAM."""
        return self._of("data")

    @property
    def bss_bytes(self) -> int:
        """Memory that is only reserved."""
        return self._of("bss")

    def _of(self, kind: str) -> int:
        return sum(s.bytes for s in self.sections if s.kind == kind)


def account(elf: Path, map_file: Path | None = None) -> Accounting:
    """Account for every byte of ``elf``. Raises BuildError when a file cannot be read."""
    try:
        with elf.open("rb") as file:
            opened = ELFFile(file)
            sections = tuple(_sections(opened))
            symbols = _symbols(opened)
            contents = {s.name: s.data() for s in opened.iter_sections()
                        if s["sh_flags"] & _ALLOC and s["sh_type"] != "SHT_NOBITS"}  # fmt: skip
    except (OSError, ELFError, ValueError, KeyError) as error:
        raise BuildError(f"cannot read the ELF file {elf}: {error}", "build it again") from error
    pieces = read_map(map_file) if map_file is not None else None
    items: list[Item] = []
    for section in sections:
        if section.kind and section.bytes:
            named = [
                s for s in symbols if section.address <= s[0] < section.address + section.bytes
            ]
            known = pieces.get(section.name, []) if pieces is not None else None
            items += _items(section, named, known, contents.get(section.name))
    return Accounting(sections, tuple(items))


def _sections(elf: ELFFile) -> Iterator[Section]:
    segments = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
    for section in elf.iter_sections():
        allocated = section["sh_flags"] & _ALLOC  # as the strings of a process's dynamic symbols
        if section["sh_type"] in _NOT_SECTIONS and not allocated:
            continue
        flags, empty = section["sh_flags"], section["sh_type"] == "SHT_NOBITS"
        kind, load = "", None
        if flags & _ALLOC:
            readonly = not flags & _WRITE or flags & _EXECUTE
            kind = "text" if readonly else "bss" if empty else "data"
            for segment in segments:
                inside = section["sh_offset"] - segment["p_offset"]
                if not empty and 0 <= inside < segment["p_filesz"]:
                    load = segment["p_paddr"] + inside
        yield Section(section.name, section["sh_addr"], section["sh_size"], kind, load)


def _symbols(elf: ELFFile) -> list[tuple[int, int, str]]:
    """(address, bytes, name) of everything that has a size, in order; the largest first."""
    table = elf.get_section_by_name(".symtab")
    found = []
    arm = elf["e_machine"] == "EM_ARM"
    for symbol in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
        kind = symbol["st_info"]["type"]
        if symbol["st_size"] and kind in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE", "STT_LOOS"):
            thumb = kind == "STT_FUNC" and arm
            found.append((symbol["st_value"] & ~int(thumb), symbol["st_size"], symbol.name))
    return sorted(found, key=lambda s: (s[0], -s[1], s[2]))


def _items(
    section: Section, symbols: Sequence[tuple[int, int, str]], pieces: Sequence[Piece] | None,
    content: bytes | None,
) -> Iterator[Item]:  # fmt: skip
    """The section from end to end: symbols, and what lies between them."""
    at, end = section.address, section.address + section.bytes
    for address, size, name in symbols:
        last = min(address + size, end)
        if last <= at:  # another name of the same bytes
            continue
        if address > at:
            yield from _between(section, at, address, pieces, content)
        at = max(at, address)
        yield Item(section.name, at, last - at, name, _origin(pieces, at))
        at = last
    if at < end:
        yield from _between(section, at, end, pieces, content)


def _between(
    section: Section, at: int, end: int, pieces: Sequence[Piece] | None, content: bytes | None
) -> Iterator[Item]:
    """Bytes that no symbol names: of an object, of the linker script, or alignment."""

    def name(low: int, high: int, most: int) -> str:
        inside = (content or b"")[low - section.address : high - section.address]
        return PADDING if high - low < most and not inside.strip(_FILL) else UNNAMED

    if pieces is None:
        yield Item(section.name, at, end - at, name(at, end, 16), "")
        return
    for piece in pieces[_last(pieces, at) :]:
        if piece.address >= end:
            break
        low, high = max(at, piece.address), min(end, piece.address + piece.bytes)
        if low < high:
            if low > at:
                yield Item(section.name, at, low - at, PADDING, "")
            yield Item(section.name, low, high - low, name(low, high, 4), piece.origin)
            at = high
    if at < end:
        yield Item(section.name, at, end - at, PADDING, "")


def _last(pieces: Sequence[Piece], address: int) -> int:
    """Position of the last piece that starts at or before ``address``, 0 when none does."""
    return max(bisect.bisect_right(pieces, address, key=lambda piece: piece.address) - 1, 0)


def _origin(pieces: Sequence[Piece] | None, address: int) -> str:
    if pieces:
        piece = pieces[_last(pieces, address)]
        if piece.address <= address < piece.address + piece.bytes:
            return piece.origin
    return ""


_PIECE = re.compile(r"^ (\S+)?\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S.*)$")
_WRITTEN = re.compile(r"^\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) (?:BYTE|SHORT|LONG|QUAD) ")
_OUTPUT = re.compile(r"^(\S+)(?:\s|$)")
_START = "Linker script and memory map"


def read_map(path: Path) -> dict[str, list[Piece]]:
    """Input sections by output section, in order, of a map that GNU ld wrote.

    Raises BuildError when it cannot be read.
    """
    try:
        lines = path.read_text().splitlines()
        start = lines.index(_START)
    except (OSError, ValueError) as error:
        raise BuildError(f"{path} is not a linker map: {error}", "build it again") from error
    found: dict[str, list[Piece]] = {}
    output = name = ""
    for line in lines[start + 1 :]:
        if heading := _OUTPUT.match(line):
            output, name = heading[1], ""
        elif written := _WRITTEN.match(line):
            _add(found, output, Piece(int(written[1], 16), int(written[2], 16), ""))
        elif piece := _PIECE.match(line):
            called = piece[1] or name
            if called and called not in ("*fill*", "*(") and not piece[4].startswith("0x"):
                origin = piece[4].rpartition("/")[2]
                _add(found, output, Piece(int(piece[2], 16), int(piece[3], 16), origin))
            name = ""
        else:
            word = line.strip()
            name = word if word and " " not in word and not word.startswith("*") else ""
    for pieces in found.values():
        pieces.sort(key=lambda piece: piece.address)
    return found


def _add(found: dict[str, list[Piece]], output: str, piece: Piece) -> None:
    if piece.bytes:
        found.setdefault(output, []).append(piece)


def grouped(items: Sequence[Any], key: Callable[[Any], Any]) -> dict[Any, int]:
    """Bytes of ``items`` by ``key``, largest first."""
    sums: dict[Any, int] = {}
    for item in items:
        sums[key(item)] = sums.get(key(item), 0) + item.bytes
    return dict(sorted(sums.items(), key=lambda pair: (-pair[1], str(pair[0]))))
