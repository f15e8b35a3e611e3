"""Objects to an ELF at the board's addresses.

In: objects, a Board. Out: a linked ELF in which every use (stack, buffers, arena, data) lies in
the first memory of the board file that has room. The link is done first as if each memory were
large, so that what does not fit is known to the byte and can be named.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jinja2

from tinyrobust import resources
from tinyrobust.artefact import write_text
from tinyrobust.boards import Board
from tinyrobust.boards.schema import Memory
from tinyrobust.errors import BoardError
from tinyrobust.image.boot_block import seal
from tinyrobust.image.compilers import Compiler
from tinyrobust.image.elf import Elf

_UNLIMITED = 0x04000000
# Output sections by use; those of one use lie together.
USES = {
    "stack": (".tr_stack",),
    "data": (".data", ".bss"),
    "buffers": (".tr_buffers",),
    "arena": (".tr_arena",),
}
CODE_RAM, CODE_SECTION = "code_ram", ".tr_code_ram"
# Kernels, runtime and the generated model, copied into RAM where flash is slow.
HOT_CODE, HOT_SECTION = "hot_code", ".tr_hot"
HOT_LEVELS = ("model", "kernels", "")  # with compiled weights, without, nothing
_SMALLEST_REGION = 256  # with eighths that can be switched off (DDI0403, "MPU_RASR", SRD)


@dataclass(frozen=True)
class Placement:
    """Name of the memory for each use of RAM; "" for code on a board that runs none there.

    ``code_align``: size of the MPU region that holds the code, to which it is aligned. ``hot``:
    what is copied to RAM and run there, one of HOT_LEVELS.
    """

    stack: str
    data: str
    buffers: str
    arena: str
    code_ram: str = ""
    code_align: int = _SMALLEST_REGION
    hot: str = ""
    code_first: bool = False  # at the start of its memory: aligned behind the rest it has no room


def link(
    board: Board, compiler: Compiler, objects: list[Path], folder: Path,
    name: str = "firmware.elf", code_ram_bytes: int = 0,
) -> Path:  # fmt: skip
    """Link ``objects`` into ``folder / name``; the map and the script stay beside it.

    ``code_ram_bytes``: what the plan says of executable RAM, so that the first link is the last.

    What does not fit its memory is left for the memory report to say. Raises BuildError when the
    linker fails (for example an undefined symbol).
    """
    elf = folder / name
    if board.is_host:
        arguments = [*compiler.link_flags, *_inside(objects, folder), *_made(elf)]
        compiler.run(arguments, folder, "the link")
        return elf
    codes = board.placed(CODE_RAM)
    first = _placement(
        {use: board.placed(use)[0].name for use in USES},
        codes[0].name if codes else "",
        _region_bytes(code_ram_bytes),
        HOT_LEVELS[0] if board.placed(HOT_CODE) else "",
    )
    tried: list[Placement] = []
    while first not in tried:  # at most once for each hot level, and once more
        _link(board, compiler, objects, elf, first)
        tried.append(first)
        first = _place(board, Elf(elf), first.hot)
    seal(elf, board)
    return elf


def _link(
    board: Board, compiler: Compiler, objects: list[Path], elf: Path, placement: Placement
) -> None:
    script = elf.with_suffix(".ld")
    write_text(script, _script(board, placement))
    arguments = [
        # Memories may lie side by side: what does not fit one is for the memory report to say.
        "-Wl,--no-check-sections", *compiler.link_flags,
        "-Wl,-T," + script.name, *_inside(objects, elf.parent), "-lgcc", *_made(elf),
    ]  # fmt: skip
    compiler.run(arguments, elf.parent, "the link")


def _made(elf: Path) -> list[str]:
    """What the linker writes, named from the folder that it runs in: GCC takes a comma in ``-Wl,``
    for the next argument and a ``%`` for a specification of its own."""
    return [f"-Wl,-Map,{elf.with_suffix('.map').name}", "-o", elf.name]


def _inside(objects: list[Path], folder: Path) -> list[str]:
    """``objects`` as the linker finds them from ``folder``."""
    return [str(o.relative_to(folder) if o.is_relative_to(folder) else o) for o in objects]


def _place(board: Board, elf: Elf, hot: str = "") -> Placement:
    """First memory with room for each use, in the order stack, data, buffers, arena, code; what
    was copied as ``hot``, or less when it has no room."""
    free = {m.name: m.length for m in board.memories}
    chosen: dict[str, str] = {}
    used = elf.section_bytes(CODE_SECTION)
    for use, sections in USES.items():
        # each section starts and ends on 8 bytes
        need = sum(-(-elf.section_bytes(s) // 8) * 8 for s in sections)
        allowed = board.placed(use)
        fits = [m for m in allowed if free[m.name] >= need]
        memory = (fits or allowed)[0]
        free[memory.name] -= need
        used += need
        chosen[use] = memory.name
    hot_bytes = elf.section_bytes(HOT_SECTION)
    room = min(free[chosen["data"]], board.budget.ram_bytes - used)
    if chosen["data"] not in [m.name for m in board.placed(HOT_CODE)]:
        hot = ""
    elif hot and hot_bytes > room:
        hot = HOT_LEVELS[HOT_LEVELS.index(hot) + 1]
    else:
        free[chosen["data"]] -= hot_bytes
    codes = board.placed(CODE_RAM)
    if not codes:
        return _placement(chosen, hot=hot)
    need = elf.section_bytes(CODE_SECTION)
    region = _region_bytes(need)
    fits = [m for m in codes if _aligned_end(m, free[m.name], region) + need <= m.end]
    padded = -(-need // (region // 8)) * (region // 8)
    first = [m for m in codes if m.origin % region == 0 and padded <= free[m.name]]
    return _placement(
        chosen, (fits or first or codes)[0].name, region, hot, bool(first and not fits)
    )


def _aligned_end(memory: Memory, free: int, region: int) -> int:
    """Where an aligned section behind everything else in ``memory`` starts."""
    return -(-(memory.end - free) // region) * region


def _region_bytes(code_bytes: int) -> int:
    """Size of the MPU region that holds so many bytes."""
    return max(1 << max(code_bytes - 1, 0).bit_length(), _SMALLEST_REGION)


def _placement(
    uses: dict[str, str], code_ram: str = "", code_align: int = _SMALLEST_REGION, hot: str = "",
    code_first: bool = False,
) -> Placement:  # fmt: skip
    return Placement(
        uses["stack"], uses["data"], uses["buffers"], uses["arena"], code_ram, code_align, hot,
        code_first,
    )  # fmt: skip


def _script(board: Board, placement: Placement) -> str:
    folder = resources.root() / "firmware" / "ports"
    own, shared = folder / board.port / "image.ld.j2", folder / "cortexm" / "image.ld.j2"
    template = own if own.is_file() else shared
    used = {m.name for use in (*USES, CODE_RAM) for m in board.placed(use)}
    flash = board.flash.name
    if flash in used:
        raise BoardError(
            f"board '{board.id}': memory {flash} holds the image and cannot hold data",
            "take it out of the uses of data in the board's YAML",
        )
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(template.read_text()).render(
        memories=[
            {"name": m.name, "length": _UNLIMITED,
             "origin": board.image_origin if m.name == flash else m.origin}
            for m in board.memories if m.name in used or m.name == flash
        ],
        ram=[m.name for m in board.memories if m.name in used],
        flash=flash,
        place=placement,
        stack_bytes=board.budget.stack_bytes,
        guard_bytes=board.traits.guard_bytes,
        flash_word_bytes=board.flash_word_bytes,
    )  # fmt: skip
