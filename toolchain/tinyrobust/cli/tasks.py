"""List the tasks: data sets that networks learn and are attacked on."""

from __future__ import annotations

from typing import Any

import click

from tinyrobust.cli._options import console, json_option, write_result


@click.command()
@click.option("--difference", metavar="TASK",
              help="Instead, compare TASK's features in integers with librosa's.")  # fmt: skip
@click.option("--model", "model_name", metavar="NAME|FILE",
              help="With --difference: the classes that a model predicts from both.")  # fmt: skip
@json_option
def command(difference: str | None, model_name: str | None, json_file: str | None) -> None:
    """List the tasks: data sets that networks learn and are attacked on.

    With --difference, over all test clips: how far the features from integers alone, as a host or a
    device computes them, are from those in float that networks are trained on.
    """
    if model_name is not None and difference is None:
        raise click.UsageError("--model goes with --difference")
    screen = console(json_file)
    if difference is not None:
        _difference(screen, difference, model_name, json_file)
        return
    from rich.table import Table

    from tinyrobust import tasks

    rows = []
    table = Table("task", "input", "classes", "data")
    for name in tasks.names():
        task = tasks.get(name)
        where = task.where()
        shape = "x".join(map(str, task.input_shape))
        table.add_row(name, shape, ", ".join(task.labels), where or "to be downloaded")
        rows.append({
            "name": name, "input_shape": list(task.input_shape), "classes": list(task.labels),
            "where": where,
        })  # fmt: skip
    screen.print(table)
    write_result(json_file, "tasks", {"tasks": rows})


def _difference(screen: Any, name: str, model_name: str | None, json_file: str | None) -> None:
    from rich.table import Table

    from tinyrobust.convert.models import load_model
    from tinyrobust.prove.feature_difference import difference

    model = None if model_name is None else load_model(model_name)
    found = difference(name, model)
    title = f"{found['integer_task']} minus {found['task']}, {found['clips']} clips"
    table = Table("difference of a feature", "features", "share", title=title)
    total = sum(found["histogram"].values())
    for value, count in sorted(found["histogram"].items(), key=lambda row: int(row[0])):
        table.add_row(
            f"{int(value):+d}" if int(value) else "0", f"{count:,}", f"{count / total:.3%}"
        )
    screen.print(table)
    if found["model"] is not None:
        told, clips = found["model"], found["clips"]
        screen.print(
            f"{told['name']}: the same class for {told['same_class']} of {clips} clips; right "
            f"{told['correct_float']} with librosa's, {told['correct_integer']} with integers"
        )
    write_result(json_file, "tasks", {"difference": found})
