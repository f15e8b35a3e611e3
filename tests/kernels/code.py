"""The bytes of code that each kernel links, measured in objects made as ``image`` makes them."""

from __future__ import annotations

from pathlib import Path

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from tinyrobust import resources
from tinyrobust.boards.cores import CORES, Core
from tinyrobust.image import compilers
from tinyrobust.image.build import firmware_source
from tinyrobust.image.objects import compile_all
from tinyrobust.kernels import catalogue

MEASURED: tuple[Core, ...] = tuple(name for name in CORES if name != "host")
ALIGN = 4  # of every section of code and constants
Piece = tuple[str, str]  # the source ("" when the linker keeps one of many), the section


def pieces(core: Core, folder: Path) -> dict[str, tuple[int, dict[str, int]]]:
    """Per kernel the bytes that only it links, and those it shares by the names of the sharers."""
    compiler = compilers.for_core(core)
    firmware = resources.root() / "firmware"
    names = sorted({path.resolve() for k in catalogue().values() for path in k.sources})
    objects = compile_all(
        [firmware_source(path) for path in names], compiler, [firmware, firmware / "include"],
        folder,
    )  # fmt: skip
    found = {
        path: _sections(item.path, str(path)) for path, item in zip(names, objects, strict=True)
    }
    mine = {
        k.id: {p: n for path in k.sources for p, n in found[path.resolve()].items()}
        for k in catalogue().values()
    }
    users: dict[Piece, list[str]] = {}
    for kernel, linked in mine.items():
        for piece in linked:
            users.setdefault(piece, []).append(kernel)
    result = {}
    for kernel, linked in mine.items():
        own = sum(n for piece, n in linked.items() if users[piece] == [kernel])
        shared: dict[str, int] = {}
        for piece, n in linked.items():
            if users[piece] != [kernel]:
                name = "+".join(sorted(users[piece]))
                shared[name] = shared.get(name, 0) + n
        result[kernel] = own, shared
    return result


def _sections(path: Path, source: str) -> dict[Piece, int]:
    """Code and constants of an object: bytes by section, as much as they take in an image."""
    found: dict[Piece, int] = {}
    with path.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            flags = section["sh_flags"]
            if (
                not flags & SH_FLAGS.SHF_ALLOC
                or flags & SH_FLAGS.SHF_WRITE
                or not section["sh_size"]
            ):
                continue
            assert section["sh_addralign"] <= ALIGN, f"{path}: {section.name}"
            one_of_many = bool(flags & SH_FLAGS.SHF_GROUP)
            key = "" if one_of_many else source, section.name
            found[key] = found.get(key, 0) + -(-section["sh_size"] // ALIGN) * ALIGN
    return found
