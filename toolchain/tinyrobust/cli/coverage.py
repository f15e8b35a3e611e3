"""Show which .tflite files can be used, and what the others need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import board_names, console, json_option, write_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tinyrobust.prove.coverage import Row


@click.command(short_help="Show which .tflite files can be used, and what the others need.")
@click.argument("files", nargs=-1, required=True, metavar="FILES...",
                type=click.Path(path_type=Path))  # fmt: skip
@click.option("--board", "board_name", default="nucleo-h743", show_default=True,
              metavar="NAME|FILE.yaml", help="Board to fit them on, as predicted.",
              shell_complete=board_names)  # fmt: skip
@click.option("--samples", type=click.IntRange(1), default=8, show_default=True,
              help="Random inputs on which integers are compared.")  # fmt: skip
@click.option("--resume", is_flag=True,
              help="Keep what the --json file already says of the same files.")  # fmt: skip
@json_option
def command(
    files: tuple[Path, ...], board_name: str, samples: int, resume: bool, json_file: str | None
) -> None:
    """For each of FILES: what kind of network it is, whether it imports and fits the board, and
    whether its integers are TensorFlow Lite's reference kernels' (where TensorFlow is installed)
    and the host build's. What is missing is listed below the table.

    The --json file is written after every file: --resume goes on where a run stopped.
    """
    from tinyrobust.cli._progress import Bars
    from tinyrobust.prove import coverage

    screen = console(json_file)
    known = _known(Path(json_file)) if resume and json_file not in (None, "-") else []
    rows: list[Row] = []
    with Bars(screen) as bars:
        bars("files", 0, len(files))
        for row in coverage.cover(files, board_name, samples, known):
            rows.append(row)
            bars("files", len(rows), len(files))
            if json_file != "-":
                write_result(json_file, "coverage", _document(rows))
    _print(screen, rows)
    if json_file == "-":
        write_result(json_file, "coverage", _document(rows))


def _document(rows: Sequence[Row]) -> dict[str, Any]:
    return {"files": [row.as_json() for row in rows]}


def _known(path: Path) -> list[Row]:
    from tinyrobust.errors import ConvertError
    from tinyrobust.prove.coverage import Row

    if not path.exists():
        return []
    try:
        return [Row.from_json(entry) for entry in json.loads(path.read_text())["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConvertError(
            f"{path} is no result of `coverage`: {error}", "give another --json, or no --resume"
        ) from error


def _print(screen: Any, rows: Sequence[Row]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table("file", "imports", "fits", "flash", "RAM", "differ: reference", "host", "outputs",
                  box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)  # fmt: skip
    for column in table.columns[3:]:
        column.justify, column.no_wrap = "right", True
    for r in rows:
        table.add_row(
            escape(Path(r.file).name), "yes" if r.imports else "no", _word(r.fits),
            _bytes(r.flash_bytes), _bytes(r.ram_bytes), _count(r.reference_differs),
            _count(r.host_differs), f"{r.outputs:,}" if r.imports else "",
        )  # fmt: skip
    screen.print(table)
    for r in rows:
        for text in (r.refused, *r.notes):
            if text:
                name = "" if text.startswith(r.file) else f"{Path(r.file).name}: "
                screen.print(f"{name}{text}", markup=False)
    screen.print(
        f"{len(rows)} file{'' if len(rows) == 1 else 's'}: {sum(r.imports for r in rows)} import, "
        f"{sum(r.fits is True for r in rows)} fit {rows[0].board or 'the board'}, "
        f"{sum(r.exact is True for r in rows)} are exact, "
        f"{sum(r.exact is False for r in rows)} differ"
    )


def _word(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _bytes(value: int | None) -> str:
    return "" if value is None else f"{value:,} B"
