"""Flip bits and skip instructions of a built network, and count what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinyrobust.cli._options import (
    aim_options,
    board_option,
    console,
    json_option,
    kernel_option,
    model_option,
    write_result,
)


def _kinds(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


@click.command(short_help="Flip bits and skip instructions of a built network.")
@model_option
@board_option
@click.option("--kinds", callback=_kinds, metavar="KIND,...", show_default=True,
              default="weights,tables,code,arena,registers,skip",
              help="weights, tables, constants, code: bits of the flash; arena, registers: bits "
              "while an inference runs; skip: instructions.")  # fmt: skip
@click.option("--faults", "count", type=click.IntRange(min=1), default=30, show_default=True,
              help="Of each kind, drawn from the seed.")  # fmt: skip
@click.option("--exhaustive", is_flag=True,
              help="Every bit of a kind that has at most 256 bytes of flash.")  # fmt: skip
@click.option("--samples", type=click.IntRange(min=1), default=4, show_default=True,
              help="Test images that every faulty board is shown.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Which faults are drawn.")  # fmt: skip
@kernel_option
@aim_options
@click.option("--out", type=click.Path(path_type=Path), default=None, metavar="DIR",
              help="Folder for the build.  [default: build/BOARD/MODEL]")  # fmt: skip
@json_option
def command(
    model_name: str | None, board_name: str, kinds: tuple[str, ...], count: int, exhaustive: bool,
    samples: int, seed: int, force: dict[str, str], aim: Any, out: Path | None,
    json_file: str | None,
) -> None:  # fmt: skip
    """Put one fault into a virtual board, ask it for the classes of some images, count; again and
    again, each time with a board of its own that runs the very bytes that would be flashed.

    A fault ends in a wrong class, in other scores with the same class, in no effect, in a fault of
    the core, or in no answer. Instructions are drawn as they run: one that runs a thousand times is
    drawn a thousand times as often.
    """
    from tinyrobust import boards, image, tasks
    from tinyrobust.cli._progress import Bars
    from tinyrobust.convert.models import load_model
    from tinyrobust.faults import campaign
    from tinyrobust.graph.model import DEFAULT_MODEL

    model = load_model(model_name or DEFAULT_MODEL)
    board = boards.load(board_name)
    screen = console(json_file)
    folder = out or Path("build") / board.id / model.name
    built = image.build(model.graph, board, folder, model_name=model.name, force=force, aim=aim)
    images, _ = tasks.get(model.graph.task).load("test", samples)
    with Bars(screen) as bars:
        result = campaign(
            built,
            board,
            images,
            dict.fromkeys(kinds, count),
            seed=seed,
            exhaustive=exhaustive,
            progress=bars,
        )
    rows = [tally.as_json() for tally in result.tallies]
    _show(screen, f"{model.name} on virtual {board.id}", rows, len(images))
    write_result(json_file, "faults", {
        "schema": "tinyrobust.faults/1", "model": model.name, "board": board.id,
        "graph_sha256": model.graph.sha256, "image_sha256": built.meta["image_sha256"],
        "images": len(images), "seed": seed, "instructions": result.instructions, "kinds": rows,
    })  # fmt: skip


def _show(screen: Any, title: str, rows: list[dict[str, Any]], images: int) -> None:
    from rich.table import Table

    from tinyrobust.faults.run import OUTCOMES

    table = Table("fault in", "faults", *OUTCOMES, "not reached", "told by the hash",
                  title=f"{title}: {images} images each")  # fmt: skip
    for row in rows:
        cells = [
            f"{row['outcomes'][name]['faults']} ({100 * row['outcomes'][name]['low']:.0f}-"
            f"{100 * row['outcomes'][name]['high']:.0f} %)"
            for name in OUTCOMES
        ]
        drawn = f"all {row['faults']:,}" if row["exhaustive"] else f"{row['faults']:,}"
        told = str(row["hash_told"]) if row["bits"] else "-"
        table.add_row(row["kind"], drawn, *cells, str(row["not_reached"]), told)
    screen.print(table)
    screen.print(
        "wrong class: of at least one image, compared with the sound board; in brackets 95 % "
        "intervals of the share; fault and no answer are noticed by any host"
    )
