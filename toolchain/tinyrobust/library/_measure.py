"""What a library takes in a program that uses it: compiled for its core and linked by itself.

In: a Library and the board its kernels were chosen for. Out: bytes of flash and RAM, without what
the compiler asks of the C library (memcpy, memset), which the program has anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyrobust.boards import Board
from tinyrobust.image import compilers
from tinyrobust.image.elf import Elf
from tinyrobust.image.objects import Source, compile_all
from tinyrobust.library._write import Library
from tinyrobust.writing import scratch

_FUNCTIONS = ("init", "input", "invoke", "scores", "argmax", "label", "status_text")
FLAGS = ("-O3",)


@dataclass(frozen=True)
class Taken:
    """Bytes: ``code`` and ``constants`` in flash, ``data`` in RAM, and the caller's ``arena``."""

    code_bytes: int
    constants_bytes: int
    data_bytes: int
    arena_bytes: int

    @property
    def flash_bytes(self) -> int:
        """All of it in flash; initialised data lies there too (there is none)."""
        return self.code_bytes + self.constants_bytes

    @property
    def ram_bytes(self) -> int:
        """All of it in RAM."""
        return self.data_bytes + self.arena_bytes


def measure(library: Library, board: Board) -> Taken:
    """Compile ``library`` for the core of ``board`` and measure it.

    Raises BuildError when the compiler is not installed or refuses a source.
    """
    made = library.package
    compiler = compilers.for_board(board)
    with scratch("library") as folder:
        work = folder
        for name, content in made.sources.items():
            (work / name).write_text(content)
        sources = [
            Source(work / name, f"library/{name}", ("-g0",) if name.endswith(".S") else FLAGS)
            for name in made.compiled
        ]
        objects = compile_all(sources, compiler, [work], work / "objects")
        roots = [f"-Wl,-u,{made.name}_{function}" for function in _FUNCTIONS]
        arguments = [
            *compiler.link_flags, "-nostdlib", *roots, f"-Wl,-e,{made.name}_invoke",
            "-Wl,--unresolved-symbols=ignore-all", *(str(o.path) for o in objects), "-lgcc",
            "-o", "library.elf",
        ]  # fmt: skip
        compiler.run(arguments, work, "the link of the library")
        elf = Elf(work / "library.elf")
    constant = (".rodata", ".data.rel.ro")
    constants = sum(s.bytes for s in elf.sections if s.name.startswith(constant))
    data = sum(
        s.bytes for s in elf.sections
        if s.name.startswith((".bss", ".data", ".tbss")) and not s.name.startswith(constant)
    )  # fmt: skip
    loaded = sum(s.bytes for s in elf.sections if s.load is not None)
    return Taken(
        code_bytes=loaded - constants,
        constants_bytes=constants,
        data_bytes=data,
        arena_bytes=made.facts["arena_bytes"],
    )
