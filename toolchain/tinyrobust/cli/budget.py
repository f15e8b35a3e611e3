"""Check what memory a built image takes: against limits, and against an earlier one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import (
    build_folder,
    console,
    json_option,
    model_option,
    size,
    write_result,
)

if TYPE_CHECKING:
    from tinyrobust.image import MemoryReport
    from tinyrobust.image.budget import Growth, Limits, Program

FORMATS = ("table", "github", "junit", "json", "markdown")


def _formats(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> list[tuple[str, Path | None]]:
    """``FORMAT`` or ``FORMAT=FILE`` options."""
    found = []
    for value in values:
        name, equals, path = value.partition("=")
        if name not in FORMATS or (equals and not path):
            raise click.BadParameter(f"'{value}' is not FORMAT or FORMAT=FILE; formats: "
                                     f"{', '.join(FORMATS)}")  # fmt: skip
        found.append((name, Path(path) if path else None))
    if sum(path is None for _, path in found) > 1:
        raise click.BadParameter("only one can go to standard output: give the others a FILE")
    return found


def _regions(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    """``NAME=BYTES`` options."""
    found = {}
    for value in values:
        name, equals, text = value.partition("=")
        number = size(ctx, param, text) if name and equals else None
        if number is None:
            raise click.BadParameter(f"'{value}' is not NAME=BYTES")
        found[name] = number
    return found


def _growth(ctx: click.Context, param: click.Parameter, text: str | None) -> Growth | None:
    if text is None:
        return None
    from tinyrobust.image.budget import growth

    try:
        return growth(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(short_help="Check what memory a built image takes.")
@click.argument("target", required=False, type=click.Path(path_type=Path), metavar="[BUILD|ELF]")
@click.option(
    "--board",
    "board_name",
    default=None,
    metavar="NAME|FILE.yaml",
    help="Board of the image, or another whose budget to check it against.",
)
@model_option
@click.option(
    "--build",
    "rebuild",
    is_flag=True,
    help="Build the image of --board and --model first, into build/BOARD/MODEL.",
)
@click.option(
    "--map",
    "map_file",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="The linker's map of an ELF: objects of what has no symbol.",
)
@click.option(
    "--format",
    "kinds",
    multiple=True,
    metavar="FORMAT[=FILE]",
    callback=_formats,
    help=f"What to write ({', '.join(FORMATS)}), and where to; may be repeated.",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Show the difference to a program whose JSON was saved.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Write the JSON, as a baseline for later.",
)
@click.option(
    "--max-flash",
    default=None,
    metavar="BYTES",
    callback=size,
    help="Flash at most: 65536, 64K, 1M.",
)
@click.option("--max-ram", default=None, metavar="BYTES", callback=size, help="RAM at most.")
@click.option(
    "--max-region",
    "regions",
    multiple=True,
    metavar="NAME=BYTES",
    callback=_regions,
    help="At most so much of one memory; may be repeated.",
)
@click.option(
    "--max-growth-flash",
    default=None,
    metavar="PERCENT%|BYTES",
    callback=_growth,
    help="Flash at most so much more than the baseline: 1%, 512, 2K.",
)
@click.option(
    "--max-growth-ram",
    default=None,
    metavar="PERCENT%|BYTES",
    callback=_growth,
    help="RAM at most so much more than the baseline.",
)
@click.option(
    "--warn-at",
    default=90.0,
    show_default=True,
    metavar="PERCENT",
    type=click.FloatRange(0, 100),
    help="Warn from this share of a limit on.",
)
@json_option
def command(
    target: Path | None, board_name: str | None, model_name: str | None, rebuild: bool,
    map_file: Path | None, kinds: list[tuple[str, Path | None]], baseline: Path | None,
    save: Path | None,
    max_flash: int | None, max_ram: int | None, regions: dict[str, int],
    max_growth_flash: Growth | None, max_growth_ram: Growth | None, warn_at: float,
    json_file: str | None,
) -> None:  # fmt: skip
    """Check what memory a built image takes: against its board, other limits, and a baseline.

    BUILD is a build folder, by default build/BOARD/MODEL: its ELF is measured anew and compared
    with memory.json. Or give any ELF, such as a project's that has an exported library in it. What
    exceeds a limit is exit 1, with the numbers and the largest consumers.
    """
    from tinyrobust.errors import CheckFailed
    from tinyrobust.image import budget

    limits = budget.Limits(max_flash, max_ram, regions, max_growth_flash, max_growth_ram, warn_at)
    kinds = kinds or [("table", None)]
    if rebuild:
        target = _build(target, board_name, model_name, kinds, json_file)
    if target is not None and target.is_file():
        program, where = _elf(target, map_file, board_name), str(target)
    else:
        if map_file is not None:
            raise click.UsageError("--map belongs to an ELF; a build folder has its own")
        program, where = _folder(target, board_name, model_name)
    before = budget.load_baseline(baseline) if baseline is not None else None
    document = _document(program, where, limits, before)
    _write(kinds, document, program.report, json_file)
    if save is not None:
        from tinyrobust.artefact import write_json

        write_json(save, document)
    write_result(json_file, "budget", {k: v for k, v in document.items() if k != "schema"})
    if program.report is not None:
        program.report.check()
    if not document["fits"]:
        raise CheckFailed("; ".join(document["excesses"]), "see the table of owners")
    if kinds == [("table", None)]:
        console(json_file).print(f"{where} fits {document['board'] or 'its limits'}")


def _build(
    target: Path | None, board_name: str | None, model_name: str | None,
    kinds: list[tuple[str, Path | None]], json_file: str | None,
) -> Path:  # fmt: skip
    """Build into ``target`` or the folder that ``build`` takes; what cannot fit is told in every
    format before it is raised."""
    from tinyrobust import boards, image
    from tinyrobust.convert.models import load_model
    from tinyrobust.errors import BudgetError
    from tinyrobust.graph.model import DEFAULT_MODEL
    from tinyrobust.image import budget

    if board_name is None:
        raise click.UsageError("--build needs --board (and --model)")
    board, model = boards.load(board_name), load_model(model_name or DEFAULT_MODEL)
    folder = build_folder(target, board.id, model.name)
    try:
        return image.build(model.graph, board, folder, model_name=model.name).folder
    except BudgetError as error:
        document = budget.refused(f"{model.name} on {board.id}", board, error)
        _write(kinds, {"schema": budget.SCHEMA, "folder": str(folder), **document}, None, json_file)
        write_result(json_file, "budget", {"folder": str(folder), **document})
        raise


def _elf(path: Path, map_file: Path | None, board_name: str | None) -> Program:
    from tinyrobust import boards
    from tinyrobust.image import budget

    board = boards.load(board_name) if board_name is not None else None
    return budget.of_elf(path, map_file, board)


def _folder(
    folder: Path | None, board_name: str | None, model_name: str | None
) -> tuple[Program, str]:
    from tinyrobust import boards, image
    from tinyrobust.convert.models import load_model
    from tinyrobust.graph.model import DEFAULT_MODEL
    from tinyrobust.image import budget

    if folder is None:
        if board_name is None:
            raise click.UsageError("give a BUILD folder, an ELF, or --board (and --model)")
        name = model_name or DEFAULT_MODEL
        folders = Path("build") / boards.load(board_name).id
        folder = folders / name
        if not folder.is_dir():  # the model was built from a file, whose name says more
            folder = folders / load_model(name).name
    built = image.load(folder)
    board = boards.load(board_name if board_name is not None else built.meta["board"])
    return budget.of_image(built, board, image.remeasure(built, board)), str(folder)


def _document(
    program: Program, where: str, limits: Limits, before: dict[str, Any] | None
) -> dict[str, Any]:
    from tinyrobust.image import budget

    made = budget.document(program, limits, before)
    report = program.report
    own: dict[str, Any] = {"schema": budget.SCHEMA, "folder": where, **made}
    if report is not None:
        own["largest"] = {kind: [p.model_dump() for p in report.consumers(kind)[:5]]
                          for kind in ("flash", "ram")}  # fmt: skip
        own["memory"] = report.as_json()
    return own


def _write(
    kinds: list[tuple[str, Path | None]], document: dict[str, Any], report: MemoryReport | None,
    json_file: str | None,
) -> None:  # fmt: skip
    """Every format to its file, or to standard output; GitHub's to its own files too."""
    from tinyrobust.artefact import write_text
    from tinyrobust.cli._memory import print_memory
    from tinyrobust.report.budget import formats, table

    for name, path in kinds:
        text = formats()[name](document)
        if path is not None:
            write_text(path, text)
        elif name == "table":
            screen = console(json_file)
            if report is not None:
                print_memory(screen, report)
            table.print_document(screen, document)
        else:
            click.echo(text, nl=False, err=json_file == "-")
        if name == "github":
            _tell_github(document)


def _tell_github(document: dict[str, Any]) -> None:
    """The step's summary and outputs, in the files that the runner names."""
    import os

    from tinyrobust.report.budget import github, markdown
    from tinyrobust.writing import append

    for variable, text in (
        (github.STEP_SUMMARY, markdown.render(document)),
        (github.STEP_OUTPUT, github.outputs(document)),
    ):
        name = os.environ.get(variable)
        if name:
            append(Path(name), text.encode())
