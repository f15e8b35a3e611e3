"""List the trained models in the zoo."""

from __future__ import annotations

import click

from tinyrobust.cli._options import console, json_option, write_result


@click.command(short_help="List the trained models in the zoo.")
@json_option
def command(json_file: str | None) -> None:
    """List the trained models in the zoo."""
    from rich.table import Table

    from tinyrobust.convert.models import load_model, names
    from tinyrobust.units import count

    rows = []
    table = Table("model", "task", "input", "classes", "weights", "MACs")
    for name in names():
        graph = load_model(name).graph
        weights = sum(int(n.arrays["weights"].size) for n in graph.nodes if "weights" in n.arrays)
        macs = sum(graph.macs(n) for n in graph.nodes)
        rows.append({
            "name": name, "task": graph.task, "input_shape": list(graph.input.shape),
            "classes": list(graph.labels), "weights": weights, "macs": macs,
            "graph_sha256": graph.sha256,
        })  # fmt: skip
        table.add_row(name, graph.task, "x".join(map(str, graph.input.shape)),
                      str(len(graph.labels)), count(weights), count(macs))  # fmt: skip
    if json_file != "-":
        console(json_file).print(table)
    write_result(json_file, "models", {"models": rows})
