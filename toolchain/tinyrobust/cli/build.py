"""Build firmware for a board and show what memory it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyrobust.cli._options import (
    aim_options,
    board_option,
    build_folder,
    console,
    json_option,
    kernel_option,
    model_option,
    out_option,
    write_result,
)

if TYPE_CHECKING:
    from tinyrobust.memory import Aim


@click.command(short_help="Build firmware for a board and show what memory it takes.")
@board_option
@model_option
@kernel_option
@aim_options
@out_option
@json_option
def command(
    board_name: str,
    model_name: str | None,
    force: dict[str, str],
    aim: Aim,
    out: Path | None,
    json_file: str | None,
) -> None:
    """Build firmware for a board and show what memory it takes.

    Writes firmware.elf, .bin, .hex, image.json and memory.json. Over the board's budget: exit 1,
    the numbers, and nothing is written.
    """
    import time

    from tinyrobust import boards, image
    from tinyrobust.cli._memory import print_memory
    from tinyrobust.convert.models import load_model
    from tinyrobust.graph.model import DEFAULT_MODEL
    from tinyrobust.memory.planner import AUTO

    start = time.monotonic()
    board = boards.load(board_name)
    model = load_model(model_name or DEFAULT_MODEL)
    folder = build_folder(out, board.id, model.name)
    screen = console(json_file)
    with screen.status(f"building {model.name} for {board.id}"):
        built = image.build(model.graph, board, folder, model_name=model.name, force=force, aim=aim)
    print_memory(screen, built.memory)
    screen.print(
        f"built {folder} in {time.monotonic() - start:.1f} s, "
        f"image SHA-256 {built.meta['image_sha256'][:16]}...\n"
        f"next: {_next(board_name, model_name, folder if out or force or aim != AUTO else None)}"
    )
    write_result(
        json_file,
        "build",
        {"folder": str(folder), "image": built.meta, "memory": built.memory.as_json()},
    )


def _next(board: str, model: str | None, folder: Path | None) -> str:
    """The command that flashes what was built; ``folder`` where it is not the usual one."""
    from tinyrobust.cli._text import command_line

    which = ["--image", folder] if folder else ["--model", model] if model else []
    return command_line("tinyrobust", "flash", "--board", board, *which)
