"""List the tasks: data sets that networks learn and are attacked on."""

from __future__ import annotations

import click

from tinyrobust.cli._options import console, json_option, write_result


@click.command()
@json_option
def command(json_file: str | None) -> None:
    """List the tasks: data sets that networks learn and are attacked on."""
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
    console(json_file).print(table)
    write_result(json_file, "tasks", {"tasks": rows})
