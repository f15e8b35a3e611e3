"""Search for networks that are robust within a board's flash, RAM and instructions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import board_option, console, json_option, write_result
from tinyrobust.cli._text import say_error

if TYPE_CHECKING:
    from tinyrobust.recipes import Recipe
    from tinyrobust.search.budget import Budget


def _budget(ctx: click.Context, param: click.Parameter, value: str) -> Budget:
    from tinyrobust.errors import TinyRobustError
    from tinyrobust.search.budget import parse

    try:
        return parse(value)
    except TinyRobustError as error:
        raise click.BadParameter(str(error)) from error


@click.command(short_help="Search for robust networks within a board's budget.")
@click.argument("recipe_name", metavar="RECIPE")
@click.option("--space", "space_name", default="ternary", show_default=True,
              metavar="NAME|FILE.yaml", help="What may change in the recipe.")  # fmt: skip
@board_option
@click.option("--budget", default="", callback=_budget, metavar="flash=..,ram=..,instructions=..",
              help="At most that much of the whole image, as flash=64K,ram=96K,instructions=3M.  "
              "[default: the board's]")  # fmt: skip
@click.option("--trials", type=click.IntRange(min=1), default=30, show_default=True,
              help="Designs to train; those that the budget refuses do not count.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(min=1), default=9, show_default=True,
              help="Of a design that is never pruned.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1, max=64), default=1, show_default=True,
              help="Processes that train at the same time.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Of the designs that are tried.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of the search.  [default: searches/RECIPE]")  # fmt: skip
@click.option("--resume", is_flag=True,
              help="Go on with the folder's search; --trials may be more than before.")  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help="Change a value of the recipe in all trials; may be repeated.")  # fmt: skip
@json_option
def command(
    recipe_name: str, space_name: str, board_name: str, budget: Budget, trials: int, epochs: int,
    workers: int, seed: int, out: Path | None, resume: bool, overrides: tuple[str, ...],
    json_file: str | None,
) -> None:  # fmt: skip
    """Search for designs of RECIPE (a name, or a YAML file) that are robust within a budget.

    Quantiser layer by layer, width, Jacobian strengths and adversarial training are chosen from a
    space. What the planner predicts to be over the budget is not trained. After a kill, --resume
    goes on; with one worker it gives the trials that an unbroken search gives. The same command
    with --resume may run in several terminals, on one folder.
    """
    from tinyrobust import recipes, search, train

    search.require()
    train.require()
    from tinyrobust.search import results, space, study
    from tinyrobust.search import workers as processes

    recipe = recipes.load(recipe_name, overrides)
    chosen = space.load(space_name)
    space.parameters(chosen, recipe)  # raises for a key that the recipe does not have
    folder = study.Folder.create(
        out if out is not None else Path("searches") / recipe.name,
        study.Settings(recipe, chosen, board_name, budget, epochs, seed),
        resume=resume,
    )
    screen = console(json_file)
    with _Progress(screen, trials, epochs) as progress:
        try:
            processes.run(folder, trials, workers, progress)
        except KeyboardInterrupt:
            progress.stop()
            say_error(f"interrupted; go on with the same command and --resume ({folder.path})")
            raise
    made = results.write(folder)
    _show(screen, made, folder.path)
    write_result(json_file, "search", made)


def _show(screen: Any, made: dict[str, Any], path: Path) -> None:
    from rich.table import Table

    from tinyrobust.search import results

    table = Table(*results.HEAD, title=made["objective"])
    for row in results.rows(made):
        table.add_row(*row)
    screen.print(table)
    screen.print(", ".join(f"{n} {state}" for state, n in made["states"].items() if n)
                 + "; *: on the Pareto front")  # fmt: skip
    for name in ("search.md", "search.json", "search.svg", "best.yaml", "front"):
        if (path / name).exists():
            screen.print(f"  {path / name}", soft_wrap=True)


class _Progress:
    """A Watcher: the trial under way as a bar, and a line for every one that is over."""

    def __init__(self, screen: Any, trials: int, epochs: int) -> None:
        from rich import progress

        self._epochs = epochs
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"), progress.BarColumn(),
            progress.TaskProgressColumn(), progress.TimeElapsedColumn(), console=screen,
            transient=True,
        )  # fmt: skip
        self._all = self._bar.add_task(f"{trials} trials", total=trials)
        self._now = self._bar.add_task("", total=1.0, visible=False)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bars off the screen."""
        if self._bar.live.is_started:
            self._bar.stop()

    def begin(self, number: int, recipe: Recipe) -> None:
        """See ``worker.Watcher``."""
        self._bar.reset(self._now, total=float(self._epochs), description=f"trial {number}",
                        visible=True)  # fmt: skip

    def step(self, epoch: int, done: int, steps: int) -> None:
        """See ``worker.Watcher``."""
        self._bar.update(self._now, completed=epoch - 1 + done / steps)

    def end(self, number: int, text: str) -> None:
        """See ``worker.Watcher``."""
        self._bar.console.print(f"trial {number}: {text}", soft_wrap=True)
        if not text.startswith("refused"):
            self._bar.advance(self._all)
