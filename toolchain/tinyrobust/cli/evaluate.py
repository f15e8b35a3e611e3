"""Attack a model on a board, virtual or real, and report its accuracy and cost."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import (
    board_option,
    build_folder,
    console,
    json_option,
    model_option,
    write_result,
)

if TYPE_CHECKING:
    from tinyrobust.device import Session
    from tinyrobust.evaluate import Prepared, Series


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    if not names:
        raise click.BadParameter("give names separated by commas, as pgd,square")
    return names


def _sizes(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        sizes = [float(part) for part in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is not a list of numbers, as 2,8") from error
    return tuple(int(size) if size.is_integer() else size for size in sizes)


@click.command(short_help="Attack a model on a board and report its accuracy and cost.")
@board_option
@click.option("--virtual", is_flag=True, help="Use a virtual board; the firmware is built for it.")
@click.option("--port", metavar="PORT", help="Serial port of a flashed board, as /dev/ttyACM0.")
@model_option
@click.option("--task", metavar="TASK", help="Data to evaluate on.  [default: the model's]")
@click.option("--samples", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Test images, from the first one on.")  # fmt: skip
@click.option("--attacks", callback=_names, metavar="NAME,...",
              help="What to craft; see `tinyrobust attacks`.  [default: pgd,square]")  # fmt: skip
@click.option("--eps", callback=_sizes, metavar="K,...",
              help="Sizes of the changes, of 255: of one value, or, in L2, of the whole image.  "
              "[default: 2,8; in L2 64,128]")  # fmt: skip
@click.option("--norm", type=click.Choice(["linf", "l2"]), default="linf", show_default=True,
              help="What the size of a change is.")  # fmt: skip
@click.option(
    "--targeted", is_flag=True, help="Towards a class drawn from the seed, not just away."
)
@click.option("--steps", type=click.IntRange(min=1), metavar="N",
              help="Of white-box attacks.  [default: each attack's own]")  # fmt: skip
@click.option("--queries", type=click.IntRange(min=1), metavar="N",
              help="Per image, of black-box attacks.  [default: each attack's own]")  # fmt: skip
@click.option("--surrogate", metavar="NAME|FILE",
              help="Model whose gradients attack 'transfer' follows.")  # fmt: skip
@click.option("--oracle", type=click.Choice(["interpreter", "native", "host", "device", "qkeras"]),
              help="Who answers what black-box attacks ask.  [default: native, with a C++ "
              "compiler]")  # fmt: skip
@click.option("--batch", "batch_images", type=click.IntRange(min=1), default=100,
              show_default=True, metavar="N",
              help="Images attacked together; a kill loses at most one batch.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Of the attacks' randomness.")  # fmt: skip
@click.option("--adversarial", type=click.Path(path_type=Path), metavar="FILE.npz",
              help="Replay a saved adversarial set; needs no ART.")  # fmt: skip
@click.option("--save-adversarial", type=click.Path(path_type=Path), metavar="FILE.npz",
              help="Save the adversarial set that was crafted.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder for records and report.  [default: evaluation/BOARD/MODEL]")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Forget what an earlier run recorded.")
@json_option
def command(
    board_name: str, virtual: bool, port: str | None, model_name: str | None, task: str | None,
    samples: int, attacks: tuple[str, ...] | None, eps: tuple[float, ...] | None,
    norm: str, targeted: bool, steps: int | None, queries: int | None, surrogate: str | None,
    oracle: str | None, seed: int, adversarial: Path | None, save_adversarial: Path | None,
    out: Path | None, fresh: bool, json_file: str | None, batch_images: int,
) -> None:  # fmt: skip
    """Attack a model on a board, virtual or real, and report its accuracy and cost.

    A run that was stopped goes on where it was when the same command is given again.
    """
    import time

    from tinyrobust import boards, image, report
    from tinyrobust import evaluate as stage
    from tinyrobust.errors import CheckFailed

    if virtual == (port is not None):
        raise click.UsageError("give either --virtual or --port PORT")
    if adversarial and save_adversarial:
        raise click.UsageError("--adversarial replays a set; there is nothing new to save")
    started = time.monotonic()
    screen = console(json_file)
    board = boards.load(board_name)
    model = stage.choose_model(model_name, task)
    screen.print(f"building {model.name} for {board.id}")
    built = image.build(
        model.graph, board, build_folder(None, board.id, model.name), model_name=model.name
    )
    wish = stage.Wish(task, samples, attacks, eps, seed, adversarial, norm, targeted, steps,
                      queries, surrogate, oracle, batch_images)  # fmt: skip
    ready = stage.prepare(model, board.id, built.meta["image_sha256"], wish)
    for text in ready.notices:
        screen.print(text)
    folder = out or Path("evaluation") / board.id / model.name
    header = {
        "command": shlex.join(["tinyrobust", *sys.argv[1:]]),
        "versions": stage.versions(),
        "about": {"board_title": board.title, "mcu": board.mcu, "model_task": model.graph.task,
                  "input_shape": list(model.graph.input.shape)},
    }  # fmt: skip
    with _session(board, built, port) as session, _progress(screen, ready) as progress:
        victim = stage.victim_for(ready.config.oracle, model, session)
        journal = stage.evaluate(
            ready.config, model.graph, ready.images, ready.labels, session, folder,
            replay=ready.replay, memory=built.memory.as_json(), fresh=fresh, header=header,
            counter=stage.counter_of(board), victim=victim, progress=progress, notice=screen.print,
        )  # fmt: skip
    figures = stage.summarise(journal.records)
    files = report.write(figures, folder)
    if save_adversarial:
        made = stage.crafted_set(ready.config, folder, ready.images, ready.labels)
        made.save(save_adversarial)
        screen.print(f"adversarial set: {save_adversarial}")
    _show(screen, figures)
    for path in (files.html, files.markdown, files.json, files.junit):
        screen.print(f"  {path}", soft_wrap=True)
    screen.print(f"took {time.monotonic() - started:.1f} s")
    write_result(json_file, "evaluate", figures)
    if figures["score_differences"]:
        raise CheckFailed(
            f"the board's scores differ from the interpreter's in "
            f"{figures['score_differences']:,} integers",
            "find the layer: "
            + shlex.join(["tinyrobust", "verify", "--board", board.id, "--model", model.name]),
        )


@contextlib.contextmanager
def _session(board: Any, built: Any, port: str | None) -> Iterator[Session]:
    """A session with the board at ``port``, or with a virtual one started for it."""
    from tinyrobust import virtual
    from tinyrobust.device import Session

    if port is not None:
        with Session.open(port) as session:
            yield session
        return
    with (
        virtual.start(board, built) as running,
        Session.open(running.port, timeout_s=60.0, fault=running.fault) as session,
    ):
        yield session


@contextlib.contextmanager
def _progress(screen: Any, ready: Prepared) -> Iterator[Callable[[Series, float], None]]:
    """Bars for the series, each from its first image on."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen, transient=True) as bars:
        shown: dict[str, Any] = {}

        def update(series: Series, done: float) -> None:
            if series.key not in shown:
                shown[series.key] = bars.add_task(series.key, total=ready.config.samples)
            bars.update(shown[series.key], completed=int(done))

        yield update


def _show(screen: Any, figures: dict[str, Any]) -> None:
    """The tables: accuracy, layers, memory; then warnings and what was measured."""
    from rich.table import Table

    from tinyrobust import report
    from tinyrobust.report import words
    from tinyrobust.units import count, kib, percent

    accuracy = Table("images", "size", "board", "95 % interval", "numpy", "differ")
    for column in accuracy.columns:
        column.no_wrap = True
    for row in report.rows(figures):
        accuracy.add_row(row["name"], row["eps"], row["accuracy"], row["interval"],
                         row["interpreter"], row["differ"])  # fmt: skip
    screen.print(accuracy)
    if figures["attacks"]:
        effort = Table("attack", "size", "queries per image", "answered by", "distance", "")
        for row in words.effort_rows(figures):
            effort.add_row(
                *(row[k] for k in ("name", "eps", "queries", "oracle", "norms", "notes"))
            )
        screen.print(effort)
    checks = Table("should hold (gradient masking)", "seen")
    for row in words.masking_rows(figures):
        checks.add_row(row["name"], row["status"])
    screen.print(checks)
    layers = words.layer_rows(figures)
    if figures["cost"]["unit"]:
        table = Table("layer", "kernel", "MACs", figures["cost"]["unit"], "share",
                      title=f"one inference: {words.cost(figures)}")  # fmt: skip
        for layer in layers:
            table.add_row(layer["name"], layer["kernel"], count(layer["macs"]),
                          f"{layer['cycles']:,}", percent(layer["share"]))  # fmt: skip
        screen.print(table)
    memory = Table("memory", "used", "budget", "share")
    for part in words.memory_rows(figures):
        memory.add_row(part["name"], kib(part["used"]), kib(part["budget"]), percent(part["share"]))
    screen.print(memory)
    for text in figures["warnings"]:
        screen.print(f"warning: {text}", style="yellow")
    for text in report.statements(figures):
        screen.print(text, style="dim")
