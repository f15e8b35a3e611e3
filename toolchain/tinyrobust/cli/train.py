"""Train a recipe's ternary network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinyrobust.cli._options import console, json_option, write_result
from tinyrobust.cli._text import command_line, say_error


@click.command(short_help="Train a recipe's ternary network.")
@click.argument("recipe_name", metavar="RECIPE")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder for the trained model.  [default: runs/NAME]",
)
@click.option("--resume", is_flag=True, help="Go on from the folder's last checkpoint.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe, for instance jacobian.strength=0; may be repeated.",
)
@json_option
def command(
    recipe_name: str,
    out: Path | None,
    resume: bool,
    overrides: tuple[str, ...],
    json_file: str | None,
) -> None:
    """Train RECIPE (a name, or a YAML file) into a folder that `tinyrobust convert` reads.

    A checkpoint is written after every epoch; after a kill, --resume goes on from it and gives
    the history that an unbroken run gives.
    """
    import json

    from tinyrobust import recipes, tasks, train, units

    train.require()
    recipe = recipes.load(recipe_name, overrides)
    folder = out if out is not None else Path("runs") / recipe.name
    screen = console(json_file)
    settings = [word for text in overrides for word in ("--set", text)]
    again = command_line("tinyrobust", "train", recipe_name, "--out", folder, "--resume", *settings)
    if resume and train.is_finished(folder):
        screen.print(f"{folder} is finished already")
    with _Progress(screen, recipe.training.epochs) as progress:
        try:
            with tasks.download_progress(progress.download):
                train.train(recipe, folder, resume=resume, listener=progress)
        except KeyboardInterrupt:
            progress.stop()
            if train.is_resumable(folder):
                say_error(f"interrupted; go on with: {again}")
            raise
    result = json.loads((folder / "training.json").read_text())
    before, after = result["test_accuracy_before_batch_norm"], result["test_accuracy"]
    screen.print(
        f"{units.percent(after)} of {result['test_images']:,} test images, deterministic weights "
        f"({units.percent(before)} before batch norms were re-estimated)"
    )
    following = command_line("tinyrobust", "convert", folder, "--out", "models/zoo/NAME")
    screen.print(f"wrote {folder}; next: {following}")
    write_result(json_file, "train", {"folder": str(folder), "training": result})


class _Progress:
    """The training's Listener as a progress bar with an estimate, and a line per epoch."""

    def __init__(self, screen: Any, epochs: int) -> None:
        from rich import progress

        self._epochs = epochs
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left:"),
            progress.TimeRemainingColumn(elapsed_when_finished=True),
            console=screen,
            speed_estimate_period=120,
        )
        self._training: Any = None
        self._download: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bar off the screen."""
        if self._bar.live.is_started:
            self._bar.stop()

    def download(self, have: int, total: int) -> None:
        """``have`` of ``total`` bytes of the data set are here."""
        if self._download is None:
            self._bar.start()
            self._download = self._bar.add_task("download", total=total)
        self._bar.update(self._download, completed=have)

    def step(self, epoch: int, done: int, steps: int, loss: float) -> None:
        """See ``train.loop.Listener``."""
        if self._training is None:
            self._bar.start()  # only now: an error before shows no empty bar
            self._training = self._bar.add_task("", total=(self._epochs - epoch + 1) * steps)
            self._first = epoch
        self._bar.update(
            self._training,
            completed=(epoch - self._first) * steps + done,
            description=f"epoch {epoch}/{self._epochs}, loss {loss:.3f}",
        )

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        """See ``train.loop.Listener``."""
        jacobian = f", squared Jacobian norm {row['jacobian']:.3g}" if row["jacobian"] else ""
        robust = row.get("validation_average_robust", row.get("validation_robust"))
        attacked = "" if robust is None else f", under PGD-10 {robust:.1%}"
        self._bar.console.print(
            f"epoch {row['epoch']:.0f}: cross-entropy {row['cross_entropy']:.4f}{jacobian}, "
            f"accuracy {row['accuracy']:.1%}, validation {row['validation_accuracy']:.1%}"
            f"{attacked}, {seconds:.0f} s"
        )
