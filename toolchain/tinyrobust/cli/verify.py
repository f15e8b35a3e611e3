"""Prove that every back end computes the same integers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from tinyrobust.memory import Aim
    from tinyrobust.prove.verify import Verification


@click.command(short_help="Prove that every back end computes the same integers.")
@model_option
@board_option
@click.option("--samples", type=click.IntRange(1), default=100, show_default=True,
              help="Images whose scores are compared.")  # fmt: skip
@click.option("--layers", "traced", type=click.IntRange(0), default=20, show_default=True,
              help="Images of which every layer's integers are compared.")  # fmt: skip
@click.option("--inputs", type=click.Path(path_type=Path), default=None, metavar="FILE.npy",
              help="Inputs, uint8 or int8 (N, ...), in place of the task's images.")  # fmt: skip
@kernel_option
@aim_options
@json_option
def command(
    model_name: str | None, board_name: str, samples: int, traced: int, inputs: Path | None,
    force: dict[str, str], aim: Aim, json_file: str | None,
) -> None:  # fmt: skip
    """Count the output integers that differ from the numpy interpreter's: hls4ml's C simulation
    (of a .tflite file: TensorFlow Lite's reference kernels), the host build, the virtual board,
    and QEMU mps2-an500. Anything above 0 is exit 1.

    A .tflite file has no task: its inputs are random, seeded, over the whole range, or those of
    --inputs. --kernel holds for every build, --optimize and the limits for the board's.
    """
    from tinyrobust import boards, tasks
    from tinyrobust.cli._progress import Bars
    from tinyrobust.convert.models import load_model
    from tinyrobust.errors import CheckFailed
    from tinyrobust.graph.model import DEFAULT_MODEL
    from tinyrobust.prove.verify import verify

    model = load_model(model_name or DEFAULT_MODEL)
    board = boards.load(board_name)
    screen = console(json_file)
    with (
        Bars(screen) as bars,
        tasks.download_progress(lambda have, total: bars("download", have, total)),
    ):
        result = verify(model, board, samples=samples, traced=traced, progress=bars,
                        inputs=inputs, force=force, aim=aim)  # fmt: skip
    _print(screen, result)
    write_result(json_file, "verify", result.as_json())
    if not result.holds:
        bad = [c.name for c in result.columns if not c.equal]
        raise CheckFailed(
            f"integers differ: {', '.join(bad)}" if bad
            else "one changed weight was not noticed, so the comparison proves nothing",
            "see the layers above: the first that differs is at fault",
        )  # fmt: skip


def _print(screen: Any, result: Verification) -> None:
    from rich.table import Table

    table = Table("computed by", "differ", "scores", "differ", "in layers", "seconds",
                  title=f"{result.model}: {result.source}")  # fmt: skip
    table.columns[0].no_wrap = True
    for column in range(1, 6):
        table.columns[column].justify = "right"
    table.add_row("numpy interpreter", "-", "", "-", "", "")
    for c in result.columns:
        if c.skipped:
            table.add_row(c.name, "not run", "", "", "", "")
            continue
        bad = sum(n for n, _ in c.layers.values())
        total = sum(n for _, n in c.layers.values())
        table.add_row(c.name, f"{c.differing:,}", f"{c.integers:,}", f"{bad:,}", f"{total:,}",
                      f"{c.seconds:.1f}")  # fmt: skip
    screen.print(table)
    for c in result.columns:
        if c.skipped:
            screen.print(f"{c.name}: not run: {c.skipped}", markup=False)
        for name, (bad, total) in c.layers.items():
            if bad:
                screen.print(f"{c.name}: {name}: {bad:,} of {total:,} integers differ")
    w = result.changed
    screen.print(
        f"one weight changed on purpose ({w.layer}{list(w.index)}: {w.before} -> {w.after}, host "
        f"build): {w.differing:,} differing",
        markup=False,
    )
