"""What an ELF holds: sections, symbols, and the bytes that are programmed.

In: an ELF file. Out: section sizes, symbols with addresses and sizes, the flash image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tinyrobust.errors import BuildError

_ALLOC = 0x2
PADDING = 0xFF  # what erased flash reads as


@dataclass(frozen=True)
class Section:
    """An allocated output section; ``load`` is its address in flash when it is programmed."""

    name: str
    address: int
    bytes: int
    load: int | None


@dataclass(frozen=True)
class Symbol:
    """A function or object of the image."""

    name: str
    address: int
    bytes: int
    kind: str  # STT_FUNC, STT_OBJECT, STT_NOTYPE
    section: str


class Elf:
    """A read ELF file. Raises BuildError when it is missing or damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sections: list[Section] = []
        self.symbols: list[Symbol] = []
        self._segments: list[tuple[int, bytes]] = []
        try:
            with path.open("rb") as file:
                self._read(ELFFile(file))
        except (OSError, ELFError, ValueError, KeyError) as error:
            raise BuildError(
                f"cannot read the ELF file {path}: {error}", "build it again"
            ) from error

    def _read(self, elf: ELFFile) -> None:
        segments = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
        self._segments = [(s["p_paddr"], s.data()) for s in segments if s["p_filesz"]]
        for section in elf.iter_sections():
            if not section["sh_flags"] & _ALLOC or not section["sh_size"]:
                continue
            load = None
            for segment in segments:
                inside = section["sh_offset"] - segment["p_offset"]
                if section["sh_type"] != "SHT_NOBITS" and 0 <= inside < segment["p_filesz"]:
                    load = segment["p_paddr"] + inside
            self.sections.append(
                Section(section.name, section["sh_addr"], section["sh_size"], load)
            )
        table = elf.get_section_by_name(".symtab")
        for entry in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
            index = entry["st_shndx"]
            home = elf.get_section(index).name if isinstance(index, int) else ""
            self.symbols.append(
                Symbol(entry.name, entry["st_value"], entry["st_size"], entry["st_info"]["type"],
                       home)
            )  # fmt: skip

    def section_bytes(self, name: str) -> int:
        """Size of the output section, 0 when there is none."""
        return sum(s.bytes for s in self.sections if s.name == name)

    @cached_property
    def symbol(self) -> dict[str, Symbol]:
        """Symbols by name."""
        return {s.name: s for s in self.symbols}

    def flash_image(self) -> tuple[int, bytes]:
        """First address and bytes of everything that is programmed, gaps filled with 0xFF."""
        if not self._segments:
            raise BuildError(f"{self.path} holds nothing to program", "build it again")
        base = min(address for address, _ in self._segments)
        image = bytearray(
            [PADDING] * (max(address + len(data) for address, data in self._segments) - base)
        )
        for address, data in self._segments:
            image[address - base : address - base + len(data)] = data
        return base, bytes(image)
