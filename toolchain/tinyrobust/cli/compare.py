"""Compare models under attack: one table and one plot, Markdown, HTML and JSON."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tinyrobust.cli._options import board_names, console, json_option, write_result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tinyrobust.compare.comparison import Contender, Estimate, Job
    from tinyrobust.compare.model_costs import Costs
    from tinyrobust.compare.suite import Suite
    from tinyrobust.evaluate.config import Series


_SAID_BY_SUITE = ("models", "task", "samples", "attacks", "eps", "norm", "slow_attacks",
                  "slow_samples", "baseline", "seed")  # fmt: skip


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


def _sizes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is not a list of numbers, as 2,4,8") from error


@click.command(short_help="Compare models under attack: one table and one plot.")
@click.option("--suite", "suite_name", metavar="NAME|FILE.yaml",
              help="What to run; the options below say it without a file.")  # fmt: skip
@click.option("--models", callback=_names, metavar="NAME|FILE,...",
              help="Zoo models, Graph files, .tflite files.")  # fmt: skip
@click.option("--task", metavar="TASK", help="Data.  [default: the first model's]")
@click.option("--samples", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Test images, from the first one on.")  # fmt: skip
@click.option("--attacks", callback=_names, default="fgsm,pgd,apgd,square", show_default=True,
              metavar="NAME,...", help="See `tinyrobust attacks`.")  # fmt: skip
@click.option(
    "--eps",
    callback=_sizes,
    default="2,4,8",
    show_default=True,
    metavar="K,...",
    help="Sizes of the changes, of 255: of one value, or, in L2, of the whole input.",
)
@click.option("--norm", type=click.Choice(["linf", "l2"]), default="linf", show_default=True,
              help="What the size of a change is.")  # fmt: skip
@click.option("--slow-attacks", callback=_names, metavar="NAME,...",
              help="Attacks that see fewer images.")  # fmt: skip
@click.option("--slow-samples", type=click.IntRange(min=1), default=100, show_default=True,
              help="How many those see.")  # fmt: skip
@click.option("--baseline", metavar="MODEL",
              help="Show the other models' average advantage over it.")  # fmt: skip
@click.option("--board", "board_name", metavar="NAME|FILE.yaml", shell_complete=board_names,
              help="Show what each model takes on it.  [default: the suite's]")  # fmt: skip
@click.option("--count", is_flag=True,
              help="Build each model and count on the virtual board, not predict.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Of the attacks' randomness.")  # fmt: skip
@click.option("--allow-missing", is_flag=True,
              help="Show models that are not there as 'not measured'.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder for records and reports.  [default: comparison/SUITE]")  # fmt: skip
@click.option("--cards", is_flag=True,
              help="Put the figures into the models' cards, where they are more.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Forget what an earlier run recorded.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, suite_name: str | None, models: tuple[str, ...], task: str | None,
    samples: int, attacks: tuple[str, ...], eps: tuple[float, ...], norm: str,
    slow_attacks: tuple[str, ...], slow_samples: int, baseline: str | None,
    board_name: str | None, count: bool, seed: int, allow_missing: bool, out: Path | None,
    cards: bool, fresh: bool, json_file: str | None,
) -> None:  # fmt: skip
    """Compare models under attack: accuracy with intervals, the worst of all attacks per image,
    queries, signs of gradient masking, memory and instructions.

    A run that was stopped goes on where it was when the same command is given again. Reports are
    written after every model, so that they can be read while the rest runs.
    """

    from tinyrobust import report
    from tinyrobust.cli._progress import Bars
    from tinyrobust.compare import comparison, corrupted
    from tinyrobust.compare.comparison_figures import figures
    from tinyrobust.errors import CheckFailed
    from tinyrobust.evaluate import versions

    started = time.monotonic()
    suite, folder = _suite(ctx, suite_name, models=models, task=task, baseline=baseline,
                           fast=(attacks, samples), slow=(slow_attacks, slow_samples), eps=eps,
                           norm=norm, seed=seed, board=board_name)  # fmt: skip
    screen = console(json_file)
    comparison.check_attacks(suite)
    found = comparison.contenders(suite, folder, allow_missing=allow_missing)
    for contender in found:
        if contender.model is None:
            screen.print(f"{contender.title}: not measured, {contender.why}")
    where = out or Path("comparison") / suite.name
    costs = _costs(screen, suite, found, where, count=count)
    data = comparison.load_data(suite)
    todo = comparison.jobs(suite, found, data, where)
    line = shlex.join(["tinyrobust", *sys.argv[1:]])

    def reports() -> tuple[dict[str, Any], report.ComparisonFiles]:
        shares = {c.folder: corrupted.figures(suite, c, data, where) for c in found}
        made = figures(suite, found, todo, costs, corrupted=shares, repeat={
            "command": line, "versions": versions(), "wall_s": time.monotonic() - started,
        })  # fmt: skip
        return made, report.write_comparison(made, where)

    def write(job: Job) -> None:
        reports()

    with _Progress(screen, comparison.Estimate(todo)) as progress:
        comparison.run(
            suite, todo, data, command=line, fresh=fresh, progress=progress,
            notice=screen.print, finished=write,
        )  # fmt: skip
    if suite.corruptions is not None:
        with Bars(screen) as bars:
            corrupted.run(
                suite, found, data, where, fresh=fresh,
                progress=lambda kind, done, total: bars("corruptions", done, total),
            )  # fmt: skip
    made, files = reports()
    _show(screen, made)
    for path in vars(files).values():
        screen.print(f"  {path}", soft_wrap=True)
    if cards:
        _write_cards(screen, found, made)
    write_result(json_file, "compare", made)
    different = sum(m["score_differences"] for m in made["models"])
    if different:
        raise CheckFailed(
            f"the judge differs from the interpreter in {different:,} scores",
            "this is a fault of tinyrobust; please report it with the model",
        )


def _suite(
    ctx: click.Context, name: str | None, *, models: tuple[str, ...], task: str | None,
    baseline: str | None, fast: tuple[Any, ...], slow: tuple[Any, ...], eps: tuple[float, ...],
    norm: str, seed: int, board: str | None,
) -> tuple[Suite, Path]:  # fmt: skip
    """The suite that the options name or say, and the folder that its files are relative to."""
    from tinyrobust.compare import suite
    from tinyrobust.convert.models import load_model

    if name is not None:
        given = [option for option in _SAID_BY_SUITE
                 if ctx.get_parameter_source(option) is ParameterSource.COMMANDLINE]  # fmt: skip
        if given:
            options = ", ".join("--" + option.replace("_", "-") for option in given)
            raise click.UsageError(f"the suite says what {options} would; change its file")
        found, folder = suite.load(name)
        return (found.model_copy(update={"board": board}) if board else found), folder
    if not models:
        raise click.UsageError("give --suite, or --models")
    groups = [
        {"attacks": names, "eps": eps, "samples": count, "norm": norm}
        for names, count in (fast, slow) if names
    ]  # fmt: skip
    if not groups:
        raise click.UsageError("--attacks and --slow-attacks are both empty")
    chosen = suite.from_options(
        models, groups, task=task or load_model(models[0]).graph.task, baseline=baseline,
        seed=seed, board=board,
    )  # fmt: skip
    return chosen, Path()


def _costs(
    screen: Any, suite: Suite, found: Sequence[Contender], out: Path, *, count: bool
) -> dict[str, Costs]:
    """What each model takes on the suite's board; empty without one."""
    if suite.board is None:
        if count:
            raise click.UsageError("--count needs --board")
        return {}
    from tinyrobust import boards
    from tinyrobust.compare import model_costs

    board = boards.load(suite.board)
    made = {}
    for contender in found:
        if contender.model is None:
            continue
        graph = contender.model.graph
        with screen.status(f"what {contender.title} takes on {board.id}"):
            made[contender.folder] = (
                model_costs.counted(graph, board, out / contender.folder / "build",
                                    contender.model.name)
                if count else model_costs.predicted(graph, board)
            )  # fmt: skip
    return made


def _write_cards(screen: Any, found: Sequence[Contender], made: dict[str, Any]) -> None:
    """The figures of each model into its card, where it has one."""
    from tinyrobust.zoo import card, card_attacks

    for contender, row in zip(found, made["models"], strict=True):
        model = contender.model
        if model is None:
            continue
        kept = card.add_attacks(model.folder, model.name, card_attacks.entry(made, row))
        written = f"  {model.folder / 'card.md'}"
        screen.print(written if kept is None else f"{contender.title}: {kept}", soft_wrap=True)


_DRAWN_EVERY_S = 0.2


class _Progress:
    """One bar over all images of all series, with what is being done and how long it will take."""

    def __init__(self, screen: Any, estimate: Estimate) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._estimate = estimate
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
            TextColumn("{task.fields[left]}"), console=screen, transient=True,
        )  # fmt: skip
        self._bar = self._bars.add_task("", total=estimate.total, left="")
        self._next = 0.0  # when to draw again: an attack reports thousands of steps a second

    def __enter__(self) -> Callable[[Job, Series, float], None]:
        self._bars.start()
        return self.update

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def update(self, job: Job, series: Series, done: float) -> None:
        from tinyrobust.report.comparison import duration

        now = time.monotonic()
        self._estimate.update(job, series, done, now)
        if now < self._next:
            return
        self._next = now + _DRAWN_EVERY_S
        left, untimed = self._estimate.left()
        text = "" if left is None else f"left: about {duration(left)}"
        if untimed:
            text += f", {untimed} attack{'s' if untimed > 1 else ''} not timed yet"
        self._bars.update(
            self._bar, completed=self._estimate.done, left=text,
            description=f"{job.contender.title}, {series.key}: {done:.0f} of {job.config.samples}",
        )  # fmt: skip


def _show(screen: Any, made: dict[str, Any]) -> None:
    from rich.table import Table

    from tinyrobust.report import comparison as words

    shown = Table("", *(m["title"] for m in made["models"]), title=made["suite"])
    section = ""
    for row in words.table(made):
        if row.section != section:
            section = row.section
            shown.add_section()
            shown.add_row(section, style="bold")
        marks = row.signs or (False,) * len(row.cells)
        shown.add_row(row.name, *(f"{c} !" if m else c
                                  for c, m in zip(row.cells, marks, strict=True)))  # fmt: skip
    screen.print(shown)
    for text in words.signs(made):
        screen.print(f"! {text}", style="yellow")
    for text in words.statements(made):
        screen.print(text, style="dim")
