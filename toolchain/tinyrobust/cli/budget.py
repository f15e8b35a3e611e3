"""Check again whether a built image fits its board."""

from __future__ import annotations

from pathlib import Path

import click

from tinyrobust.cli._options import console, json_option, model_option, write_result


@click.command(short_help="Check again whether a built image fits its board.")
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[BUILD_FOLDER]")
@click.option("--board", "board_name", default=None, metavar="NAME|FILE.yaml",
              help="Board of the image, or another whose budget to check it against.")  # fmt: skip
@model_option
@json_option
def command(
    folder: Path | None, board_name: str | None, model_name: str | None, json_file: str | None
) -> None:
    """Check again whether a built image fits its board: BUILD_FOLDER, or build/BOARD/MODEL.

    Measures the ELF anew and compares with memory.json; over budget is exit 1 with the numbers
    and the largest consumers.
    """
    from tinyrobust import boards, image
    from tinyrobust.cli._memory import print_memory
    from tinyrobust.convert.models import load_model
    from tinyrobust.graph.model import DEFAULT_MODEL

    if folder is None:
        if board_name is None:
            raise click.UsageError("give a BUILD_FOLDER, or --board (and --model)")
        name = model_name or DEFAULT_MODEL
        folders = Path("build") / boards.load(board_name).id
        folder = folders / name
        if not folder.is_dir():  # the model was built from a file, whose name says more
            folder = folders / load_model(name).name
    built = image.load(folder)
    board = boards.load(board_name if board_name is not None else built.meta["board"])
    report = image.remeasure(built, board)
    screen = console(json_file)
    print_memory(screen, report)
    excesses = [excess.message for excess in report.excesses()]
    write_result(
        json_file,
        "budget",
        {"folder": str(folder), "board": board.id, "fits": not excesses, "excesses": excesses,
         "largest": {kind: [p.model_dump() for p in report.consumers(kind)[:5]]
                     for kind in ("flash", "ram")},
         "memory": report.as_json()},
    )  # fmt: skip
    report.check()
    screen.print(f"{folder} fits {board.id}")
