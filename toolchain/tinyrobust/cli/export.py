"""Write a network and its kernels as a library for other people's projects."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import (
    board_names,
    console,
    json_option,
    kernel_option,
    model_option,
    size,
    write_result,
)

if TYPE_CHECKING:
    from tinyrobust.boards import Board
    from tinyrobust.library import Library
    from tinyrobust.memory import Aim

CORE = "cortex-m4"


class _Formats(click.ParamType):  # type: ignore[type-arg]
    """A format's name, known without importing what a format needs."""

    name = "format"

    def names(self) -> list[str]:
        """The formats: the public modules of ``library/``."""
        here = Path(__file__).resolve().parent.parent / "library"
        return sorted(
            p.stem.replace("_", "-") for p in here.glob("*.py") if not p.stem.startswith("_")
        )

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        if value not in self.names():
            self.fail(f"'{value}' is none of {', '.join(self.names())}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]


_FORMATS = _Formats()


@click.command(short_help="Write a network and its kernels as a library for other projects.")
@click.option(
    "--format",
    "kind",
    required=True,
    type=_FORMATS,
    metavar="|".join(_FORMATS.names()),
    help="What the other project is built with.",
)
@model_option
@click.option(
    "--board",
    "board_name",
    default=None,
    metavar="NAME|FILE.yaml",
    shell_complete=board_names,
    help="Choose the kernels for this board.",
)
@click.option(
    "--core",
    default=None,
    metavar="NAME",
    help=f"Choose the kernels for this core.  [default: {CORE}]",
)
@kernel_option
@click.option(
    "--optimize",
    type=click.Choice(["auto", "speed", "size", "balanced"]),
    default="auto",
    show_default=True,
    help="What the choice of kernels is to be best at; auto: speed, but balanced where that would "
    "take more flash than the network in int8.",
)
@click.option(
    "--max-flash",
    default=None,
    metavar="BYTES",
    callback=size,
    help="Flash at most, as `build` counts it: with a firmware around the library.",
)
@click.option(
    "--max-ram",
    default=None,
    metavar="BYTES",
    callback=size,
    help="RAM at most, as `build` counts it: with stack and buffers.",
)
@click.option(
    "--code-in-ram",
    is_flag=True,
    help="Kernels may run code which they wrote into RAM (cmake and c-array).",
)
@click.option(
    "--name",
    default=None,
    metavar="NAME",
    help="What all in it is called.  [default: the model's name]",
)
@click.option(
    "--library-version",
    "version",
    default=None,
    metavar="X.Y.Z",
    help="Version of the library.  [default: 0.1.0]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder to write to.  [default: export/FORMAT/MODEL]",
)
@click.option("--overwrite", is_flag=True, help="Replace a library that was changed since.")
@click.option(
    "--measure/--no-measure",
    default=True,
    show_default=True,
    help="Compile it for the core and show flash and RAM beside the firmware's.",
)
@json_option
def command(
    kind: str, model_name: str | None, board_name: str | None, core: str | None,
    force: dict[str, str], optimize: Any, max_flash: int | None, max_ram: int | None,
    code_in_ram: bool, name: str | None, version: str | None, out: Path | None, overwrite: bool,
    measure: bool, json_file: str | None,
) -> None:  # fmt: skip
    """Write a network and its kernels as a library for other people's projects.

    It has the model, the kernels it uses, a C interface, an example, a manifest and the licence.
    Kernels are chosen as `build` does, for a board or a core; on other cores they compute the same
    integers in plain C++. The folder is written whole or not at all, and only a library that
    nobody changed is replaced.
    """
    from tinyrobust import library, memory
    from tinyrobust.convert.models import load_model
    from tinyrobust.graph.model import DEFAULT_MODEL

    if board_name is not None and core is not None:
        raise click.UsageError("give --board or --core, not both")
    board = _board(board_name, core)
    model = load_model(model_name or DEFAULT_MODEL)
    aim = memory.Aim(optimize, max_flash, max_ram, code_in_ram)
    folder = out if out is not None else Path("export") / kind / model.name
    screen = console(json_file)
    with screen.status(f"exporting {model.name} as {kind}"):
        written = library.export(
            model.graph, board, folder, format=kind, model=model.name, name=name,
            version=version or library.VERSION, force=force, aim=aim, overwrite=overwrite,
        )  # fmt: skip
        taken = _measured(written, board, model.graph, force, aim, kind) if measure else {}
    _show(screen, written, taken, library.formats()[kind])
    write_result(
        json_file,
        "export",
        {"folder": str(folder), "manifest": written.manifest, "measured": taken or None},
    )


def _board(board_name: str | None, core: str | None) -> Board:
    from tinyrobust import boards
    from tinyrobust.boards.cores import CORES
    from tinyrobust.errors import BoardError
    from tinyrobust.library import generic_board
    from tinyrobust.registry import nearest

    if board_name is not None:
        return boards.load(board_name)
    core = core or CORE
    if core not in CORES:
        raise BoardError(f"unknown core '{core}'", nearest(core, CORES))
    return generic_board(core)


def _measured(
    written: Library, board: Board, graph: Any, force: dict[str, str], aim: Aim, kind: str
) -> dict[str, Any]:
    """Bytes of the library and, for a board, of the firmware of the same plan."""

    from tinyrobust import image, library
    from tinyrobust.errors import BuildError
    from tinyrobust.writing import scratch

    try:
        taken = library.measure(written, board)
    except BuildError as error:
        if "is not installed" not in error.message:
            raise
        return {"missing": error.message}
    found: dict[str, Any] = {
        "core": board.core,
        "library": {"flash_bytes": taken.flash_bytes, "code_bytes": taken.code_bytes,
                    "constants_bytes": taken.constants_bytes, "ram_bytes": taken.ram_bytes,
                    "arena_bytes": taken.arena_bytes, "data_bytes": taken.data_bytes},
    }  # fmt: skip
    if board.port != "none":
        with scratch("export") as folder:
            built = image.build(
                graph, board, folder / "firmware", model_name=written.package.name,
                force=force, aim=library.aim_of(aim, kind),
            )  # fmt: skip
        memory = built.memory
        found["firmware"] = {
            "flash_bytes": memory.flash.used_bytes,
            "ram_bytes": memory.ram.used_bytes,
            "arena_bytes": memory.arena_bytes,
            "stack_bytes": memory.ram.part("stack"),
        }
    return found


def _show(screen: Any, written: Library, taken: dict[str, Any], kind: Any) -> None:
    from rich.table import Table

    made = written.package
    if "library" in taken:
        table = Table(f"{made.name} on {taken['core']}", "flash", "RAM", "of it")
        for column in (1, 2):
            table.columns[column].justify = "right"
        own = taken["library"]
        table.add_row("library", f"{own['flash_bytes']:,} B", f"{own['ram_bytes']:,} B",
                      f"code {own['code_bytes']:,}, constants {own['constants_bytes']:,}, "
                      f"arena {own['arena_bytes']:,}")  # fmt: skip
        if "firmware" in taken:
            whole = taken["firmware"]
            table.add_row("firmware of the same plan", f"{whole['flash_bytes']:,} B",
                          f"{whole['ram_bytes']:,} B",
                          f"arena {whole['arena_bytes']:,}, stack {whole['stack_bytes']:,}, "
                          "protocol, port")  # fmt: skip
        screen.print(table)
    elif taken:
        screen.print(f"not measured: {taken['missing']}")
    next_step = kind.next_step.format(
        name=f"tinyrobust_{made.name}", folder=shlex.quote(str(written.folder))
    )
    screen.print(
        f"wrote {written.folder}: {len(written.manifest['files'])} files, {made.public}, kernels "
        f"chosen for {made.plan.core}, Graph SHA-256 {made.graph.sha256[:16]}...\n"
        f"next: {next_step}"
    )
