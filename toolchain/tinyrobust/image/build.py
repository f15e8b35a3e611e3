"""Graph to image: plan, generate, compile, link, measure, check the budget.

In: a Graph and a Board. Out: a folder with firmware.elf, .bin, .hex (and .uf2), image.json,
memory.json, the generated sources and the objects. It is built in a temporary folder and renamed
when all is well, so a failed build leaves the earlier one as it was.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tinyrobust import __version__, codegen, memory, resources
from tinyrobust.artefact import sha256, write_bytes, write_json, write_text
from tinyrobust.boards import Board
from tinyrobust.codegen.text import string
from tinyrobust.errors import BuildError, TinyRobustError
from tinyrobust.graph.nodes import Graph, Port
from tinyrobust.graph.ports import input_type, result_type, sample_shape
from tinyrobust.image import compilers, hexfile, ports, stack
from tinyrobust.image.elf import PADDING, Elf
from tinyrobust.image.link import link
from tinyrobust.image.memory_report import (
    MemoryReport,
    Stack,
    code_by_part,
    constants_by_part,
    measure,
)
from tinyrobust.image.objects import Object, Source, compile_all
from tinyrobust.image.ports import core_folders
from tinyrobust.image.uf2 import uf2
from tinyrobust.reading import MAX_JSON_BYTES, bounded, document, typed
from tinyrobust.writing import discard, folder_beside, put_folder

SCHEMA = "tinyrobust.image/1"
KERNEL_FLAGS = ("-O3",)
OTHER_FLAGS = ("-O2",)
STEP_KEYS = ("name", "kernel", "macs", "output", "symbol", "shape", "type", "layout")
_ELEMENT_BYTES = {"u8": 1, "i8": 1, "i16": 2, "i32": 4}


@dataclass(frozen=True)
class Image:
    """A built image: its files, ``meta`` (image.json) and ``memory`` (memory.json)."""

    folder: Path
    meta: dict[str, Any]
    memory: MemoryReport

    @property
    def elf(self) -> Path:
        """The linked program; for board ``host`` a Linux executable."""
        return self.folder / "firmware.elf"

    @property
    def bin(self) -> Path:
        """What is programmed, from the first flash address, padded to the flash word."""
        return self.folder / "firmware.bin"

    @property
    def hex(self) -> Path:
        """The same as Intel HEX."""
        return self.folder / "firmware.hex"

    @property
    def uf2(self) -> Path:
        """The same as UF2, on boards whose boot loader shows a drive."""
        return self.folder / "firmware.uf2"


def build(
    graph: Graph,
    board: Board,
    out: Path,
    *,
    model_name: str,
    force: Mapping[str, str] | None = None,
    aim: memory.Aim | None = None,
) -> Image:
    """Build ``graph`` for ``board`` into the folder ``out``.

    ``force`` maps layer names to kernel ids; ``aim`` says what the plan is to be best at and sets
    limits below the board's budget. Raises BudgetError (too large; nothing is written),
    BuildError (compiler missing or failed), GraphError (an unknown layer in ``force``).
    """
    aim = aim or memory.Aim()
    board = aim.limit(board)
    plan = memory.plan(graph, board, force=force or {}, aim=aim)
    generated = codegen.generate(plan)
    compiler = compilers.for_board(board)
    _refuse_foreign(out)
    work = folder_beside(out)
    try:
        objects = compile_all(
            _sources(board, plan, generated, work), compiler, _include(board, generated),
            work / "objects",
        )  # fmt: skip
        elf_path = link(
            board, compiler, [o.path for o in objects], work,
            code_ram_bytes=-(-plan.executable_bytes // 8) * 8,
        )  # fmt: skip
        elf = Elf(elf_path)
        steps = _steps(plan, generated)
        code = [] if board.is_host else code_by_part(elf, objects)
        constants = [] if board.is_host else constants_by_part(elf, objects)
        bound = _stack(board, elf, objects)
        report = measure(elf, board, model_name, steps, bound, code, constants)
        report.check()
        base, image = _programmed(board, elf_path, elf)
        meta = _meta(graph, board, model_name, steps, image, compiler)
        write_bytes(work / "firmware.bin", image)
        write_text(work / "firmware.hex", hexfile.encode(base, image))
        for row in board.flashers:
            if row.family is not None:
                write_bytes(work / "firmware.uf2", uf2(image, base, row.family))
        write_json(work / "memory.json", report.as_json())
        write_json(work / "plan.json", plan.as_json())
        write_json(work / "image.json", meta)
        put_folder(work, out)
    except OSError as error:
        raise TinyRobustError(
            f"cannot write {out}: {error.strerror}", "check the disk and the folder's permissions"
        ) from error
    finally:
        discard(work)
    return Image(out, meta, report)


class _Step(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    name: str
    kernel: str


class _Meta(BaseModel):
    """``image.json``; what older versions did not write may be missing."""

    model_config = ConfigDict(extra="allow", strict=True)
    board: str
    model: str
    core: str
    task: str | None = None
    graph_sha256: str
    image_sha256: str
    image_bytes: Annotated[int, Field(ge=0, lt=1 << 40)] = 0
    input_shape: list[Annotated[int, Field(ge=0, lt=1 << 32)]] = []
    classes: list[str] = []
    steps: list[_Step] = []
    versions: dict[str, str | None] = {}


def load(folder: Path) -> Image:
    """An image built earlier. Raises BuildError when the folder is none, or is damaged."""
    meta = _read_json(folder / "image.json")
    report = MemoryReport.from_json(_read_json(folder / "memory.json"), folder / "memory.json")
    if meta.get("schema") != SCHEMA:
        raise BuildError(f"{folder / 'image.json'} has another schema", "build the image again")
    typed(_Meta, meta, folder / "image.json", BuildError, "build the image again")
    image = Image(folder, meta, report)
    for path in (image.elf, image.bin):
        if not path.is_file():
            raise BuildError(f"{path} is missing", "build the image again")
    if sha256(image.bin.read_bytes()) != meta["image_sha256"]:
        raise BuildError(f"{image.bin} is not the image that image.json names", "build it again")
    return image


def remeasure(image: Image, board: Board) -> MemoryReport:
    """Measure the ELF of ``image`` again, against ``board``: its own, or one of the same core and
    addresses with another budget.

    Raises BuildError when the ELF is not the one that memory.json describes and the .bin was made
    from, or the board is of another kind.
    """
    elf = Elf(image.elf)
    if board.core != image.meta["core"] or (
        not board.is_host and board.image_origin != elf.flash_image()[0]
    ):
        raise BuildError(
            f"{image.folder} is for {image.meta['board']} and does not run on {board.id}",
            f"build it: tinyrobust build --board {board.id}",
        )
    if (
        image.elf.read_bytes() if board.is_host else elf.flash_image()[1]
    ) != image.bin.read_bytes():
        raise BuildError(f"{image.elf} is not the program in {image.bin.name}", "build it again")
    steps = [
        {**step, "scratch_bytes": layer.scratch_bytes, "output_bytes": layer.output_bytes}
        for step, layer in zip(image.meta["steps"], image.memory.layers, strict=True)
    ]
    bound = image.memory.stack.model_copy(update={"reserved_bytes": board.budget.stack_bytes})
    report = measure(
        elf, board, image.meta["model"], steps, bound, image.memory.code, image.memory.constants
    )
    for mine, said in ((report.flash, image.memory.flash), (report.ram, image.memory.ram)):
        if mine.parts != said.parts:
            raise BuildError(
                f"{image.elf} holds {mine.used_bytes:,} B where memory.json says "
                f"{said.used_bytes:,} B",
                "build the image again",
            )
    return report


def _read_json(path: Path) -> dict[str, Any]:
    hint = "build the image again"
    if not path.exists():
        raise BuildError(f"no built image: {path} is missing", "run `tinyrobust build`")
    found = document(bounded(path, MAX_JSON_BYTES, BuildError, hint), path, BuildError, hint)
    return typed(dict[str, Any], found, path, BuildError, hint)


def _refuse_foreign(out: Path) -> None:
    """A build replaces its folder, so it must be ours."""
    if out.exists() and not (out.is_dir() and ((out / "image.json").is_file()
                                               or not any(out.iterdir()))):  # fmt: skip
        raise TinyRobustError(
            f"{out} exists and is not a build folder", "give another folder with --out"
        )


def _include(board: Board, generated: codegen.Generated) -> list[Path]:
    firmware = resources.root() / "firmware"
    shared = [firmware / "ports" / name for name in core_folders(board)]
    found = [*generated.include_dirs, firmware / "include", firmware / "protocol",
             firmware / "ports" / board.port, *shared]  # fmt: skip
    return list(dict.fromkeys(found))


def _sources(
    board: Board, plan: memory.Plan, generated: codegen.Generated, work: Path
) -> list[Source]:
    firmware = resources.root() / "firmware"
    folders = ["app", "protocol", f"ports/{board.port}"]
    folders += [f"ports/{name}" for name in core_folders(board)]
    ports.check(board)
    sources = model_sources(plan, generated, work)
    for folder in folders:
        for path in sorted((firmware / folder).iterdir()):
            if path.suffix in (".cpp", ".S"):
                sources.append(firmware_source(path))
    write_text(work / "generated" / "tr_board.cpp", board_text(board))
    return [
        *sources,
        Source(work / "generated/tr_board.cpp", "generated/tr_board.cpp", OTHER_FLAGS),
    ]


def model_sources(plan: memory.Plan, generated: codegen.Generated, work: Path) -> list[Source]:
    """The model by itself, written to ``work / "generated"``: generated code, runtime, kernels,
    and its arena."""
    files = {**generated.files, "tr_image.cpp": _arena_text(plan)}
    sources = []
    for name, content in files.items():
        write_text(work / "generated" / name, content)
        sources.append(Source(work / "generated" / name, f"generated/{name}", KERNEL_FLAGS))
    return sources + [firmware_source(path) for path in generated.sources]


def firmware_source(path: Path) -> Source:
    """A file of ``firmware/`` with the flags of its folder."""
    name = path.relative_to(resources.root() / "firmware").as_posix()
    fast = name.startswith(("kernels/", "runtime/"))
    flags: tuple[str, ...] = KERNEL_FLAGS if fast else OTHER_FLAGS
    if name == "ports/cortexm/memory.cpp":
        flags = (*flags, "-fno-tree-loop-distribute-patterns")
    if path.suffix == ".S":
        flags = (*flags, "-g0")  # the assembler would write this computer's paths
    return Source(path, name, flags)


def _arena_text(plan: memory.Plan) -> str:
    size = max(plan.arena_bytes, 8)
    return (
        "// Generated by tinyrobust: the memory of the model (tr_image.h).\n"
        '#include "tr_image.h"\n\n'
        'extern "C" {\n'
        '__attribute__((section(".bss.tr_arena"), aligned(8)))\n'
        f"uint8_t tr_arena[{size}];\n"
        f"const uint32_t tr_arena_bytes = {size};\n"
        "}\n"
    )


def board_text(board: Board) -> str:
    """The generated source with the board file's facts (tr_image.h)."""
    return (
        "// Generated by tinyrobust: the board file's facts (tr_image.h).\n"
        '#include "tr_image.h"\n\n'
        'extern "C" {\n'
        f"const char tr_board_id[] = {string(board.id)};\n"
        f"const uint32_t tr_board_baud_max = {board.serial.baud_max};\n"
        f"const uint32_t tr_board_flash_origin = {board.flash.origin:#x};\n"
        f"const uint32_t tr_board_flash_bytes = {board.flash.length:#x};\n"
        + "".join(_setting(name, value) for name, value in board.settings.items())
        + "}\n"
    )


def _setting(name: str, value: int | str) -> str:
    if isinstance(value, str):
        return f"extern const char tr_setting_{name}[] = {string(value)};\n"
    return f"extern const uint32_t tr_setting_{name} = {value:#x};\n"


def _steps(plan: memory.Plan, generated: codegen.Generated) -> list[dict[str, Any]]:
    return [
        {
            **made,
            "scratch_bytes": step.scratch_bytes,
            "output_bytes": plan.places[step.output].count
            * _ELEMENT_BYTES[plan.places[step.output].type],
        }
        for made, step in zip(generated.steps, plan.steps, strict=True)
    ]


def _stack(board: Board, elf: Elf, objects: list[Object]) -> Stack:
    reserved = board.budget.stack_bytes
    if board.is_host:
        return Stack(reserved_bytes=reserved, bound_bytes=None)
    bound = stack.bound(elf, objects)
    return Stack(reserved_bytes=reserved, bound_bytes=bound.bytes, path=list(bound.path))


def _programmed(board: Board, path: Path, elf: Elf) -> tuple[int, bytes]:
    """First address and content of the .bin file, padded to the flash word.

    A process's image is its executable, which the host port hashes through /proc/self/exe.
    """
    if not board.is_host:
        return elf.flash_image()
    data = path.read_bytes()
    data += bytes([PADDING]) * (-len(data) % board.flash_word_bytes)
    mode = path.stat().st_mode
    write_bytes(path, data)
    path.chmod(mode)
    return 0, data


def _meta(
    graph: Graph, board: Board, model_name: str, steps: list[dict[str, Any]], image: bytes,
    compiler: compilers.Compiler,
) -> dict[str, Any]:  # fmt: skip
    return {
        "schema": SCHEMA,
        "board": board.id,
        "core": board.core,
        "model": model_name,
        "task": graph.task,
        "graph_sha256": graph.sha256,
        "image_sha256": sha256(image),
        "image_bytes": len(image),
        "input_shape": list(sample_shape(graph)),
        "classes": list(graph.labels),
        "inputs": [_port(graph, p, input_type(graph, p.name)) for p in graph.inputs],
        "outputs": [_port(graph, p, result_type(graph, p.tensor)) for p in graph.results],
        "steps": [{key: step[key] for key in STEP_KEYS} for step in steps],
        "versions": {
            "tinyrobust": __version__,
            "compiler": compiler.version,
            "python": platform.python_version(),
        },
    }


def _port(graph: Graph, port: Port, type_: str) -> dict[str, Any]:
    """An input or output as the device has it."""
    return {"name": port.name, "tensor": port.tensor, "type": type_,
            "shape": list(graph.tensor[port.tensor].shape)}  # fmt: skip
