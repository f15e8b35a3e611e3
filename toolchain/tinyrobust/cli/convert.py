"""Convert a trained model, or a QONNX file, to an integer Graph, or a trained one to .tflite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import console, json_option, write_result

if TYPE_CHECKING:
    from tinyrobust.convert.export import Export


@click.command(short_help="Convert a trained model or QONNX to a Graph, or to int8 .tflite.")
@click.argument("trained", type=click.Path(path_type=Path), metavar="TRAINED_FOLDER|FILE.onnx")
@click.option(
    "--to",
    "kind",
    type=click.Choice(["graph", "tflite"]),
    default="graph",
    show_default=True,
    help="The ternary integer Graph, or int8 by TensorFlow's converter.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR|FILE.tflite",
    help="The model's folder, for instance models/zoo/NAME, or the file; an older one is replaced.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Test images for accuracy and agreement.  [default: all]",
)
@click.option(
    "--oracle",
    "oracle_images",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Images for hls4ml's C simulation, every layer compared; 0 leaves it out.",
)
@click.option(
    "--data-note",
    default="",
    metavar="TEXT",
    help="What the card says of the data, for instance 'CIFAR-10 (JPEG)'.",
)
@click.option(
    "--keep-order",
    is_flag=True,
    help="Leave the channels as they were trained, instead of the order that kernels like.",
)
@click.option("--int8-twin", is_flag=True, help="Write int8.tflite too: the same network in int8.")
@click.option(
    "--task",
    "task_name",
    default=None,
    metavar="NAME",
    help="Of FILE.onnx: the task that it was trained for, for classes and test images.",
)
@json_option
def command(
    trained: Path, kind: str, out: Path, samples: int | None, oracle_images: int, data_note: str,
    keep_order: bool, int8_twin: bool, task_name: str | None, json_file: str | None,
) -> None:  # fmt: skip
    """Convert the trained model in TRAINED_FOLDER to an integer Graph, check it, and write its
    folder: the Graph, train/, golden vectors and a card.

    With --to tflite: re-export it as plain Keras layers with the quantised weights, convert that
    to int8 with training images as representative set, check it with the TensorFlow Lite runtimes
    that are installed, and write the file, which --model of every command takes; where --out is
    no FILE.tflite, a model's folder with it, golden vectors and a card.

    FILE.onnx is QONNX, as Brevitas exports it, with ternary weights: its folder gets the Graph, the
    file and golden vectors. What is compared: qonnx's own executor and hls4ml's C simulation.
    """
    from rich.table import Table

    from tinyrobust.zoo import make as zoo

    screen = console(json_file)
    if trained.suffix == ".onnx":
        if kind != "graph" or int8_twin or data_note:
            raise click.UsageError("FILE.onnx is converted to a Graph without twin and card")
        _of_onnx(screen, trained, out, task_name, samples, oracle_images, keep_order, json_file)
        return
    if task_name:
        raise click.UsageError("--task belongs to FILE.onnx; a recipe names its task")
    if kind == "tflite":
        if keep_order or int8_twin:
            raise click.UsageError("--keep-order and --int8-twin belong to --to graph")
        if out.suffix:  # to_tflite refuses other files
            if data_note:
                raise click.UsageError("--data-note belongs to a folder with a card")
            _to_tflite(screen, trained, out, samples, json_file)
        else:
            _to_folder(screen, trained, out, samples, data_note, json_file)
        return
    made = zoo.make(
        trained,
        out,
        samples=samples,
        oracle_images=oracle_images,
        data_note=data_note,
        keep_order=keep_order,
        twin=int8_twin,
        say=lambda line: screen.print(line, style="dim"),
    )
    card = made.card
    accuracy, qkeras, checked = card["accuracy"], card["qkeras"], card["hls4ml_simulation"]
    table = Table("", made.graph.name, show_header=True)
    table.add_row("weights", f"{card['weights']:,} trits, {card['weight_bytes']:,} bytes")
    for key, label in (("float_before_batch_norm", "before"), ("float_after_batch_norm", "after")):
        if accuracy[key] is not None:
            table.add_row(f"QKeras, {label} batch-norm re-estimation", f"{accuracy[key]:.2%}")
    table.add_row("integers", f"{accuracy['integer']:.2%} of {accuracy['samples']:,}")
    table.add_row("same class as QKeras", f"{qkeras['agreement']:.3%} of {qkeras['samples']:,}")
    table.add_row(
        "hls4ml's C simulation",
        "not run"
        if checked is None
        else f"{checked['differing_integers']} of {checked['compared_integers']:,} integers differ",
    )
    screen.print(table)
    columns = sorted({int(d) for row in qkeras["differences"].values() for d in row})
    steps = Table("QKeras minus integers, steps", *(f"{d:+d}" if d else "0" for d in columns))
    for name, row in qkeras["differences"].items():
        steps.add_row(name, *(f"{row.get(str(d), 0):,}" for d in columns))
    screen.print(steps)
    screen.print(f"wrote {made.folder}")
    write_result(json_file, "convert", {"folder": str(made.folder), "card": card})


def _of_onnx(
    screen: Any, source: Path, out: Path, task: str | None, samples: int | None, oracle: int,
    keep_order: bool, json_file: str | None,
) -> None:  # fmt: skip
    from rich.table import Table

    from tinyrobust.zoo import qonnx

    made = qonnx.make(
        source, out, task=task, samples=samples, oracle_images=oracle, keep_order=keep_order,
        say=lambda line: screen.print(line, style="dim"),
    )  # fmt: skip
    trits = sum(n.arrays["weights"].size for n in made.graph.nodes if "weights" in n.arrays)
    table = Table("", made.graph.name, show_header=True)
    table.add_row("weights", f"{trits:,} trits")
    if made.accuracy is not None:
        table.add_row("integers", f"{made.accuracy:.2%} of {made.samples:,}")
    beside = made.executor
    table.add_row(
        "qonnx's executor",
        f"same class {beside.same_class} of {beside.images}, scores within {beside.worst:.2g}",
    )
    table.add_row(
        "hls4ml's C simulation",
        "not run"
        if made.differing is None
        else f"{made.differing} of {made.compared:,} integers differ",
    )
    screen.print(table)
    screen.print(f"wrote {made.folder}")
    write_result(
        json_file, "convert",
        {"folder": str(made.folder), "graph_sha256": made.graph.sha256, "trits": trits,
         "accuracy": made.accuracy, "samples": made.samples, "executor": vars(beside),
         "differing_integers": made.differing, "compared_integers": made.compared},
    )  # fmt: skip


def _to_tflite(
    screen: Any, trained: Path, out: Path, samples: int | None, json_file: str | None
) -> None:
    from tinyrobust.convert import export

    made = export.to_tflite(
        trained, out, samples=samples, say=lambda line: screen.print(line, style="dim")
    )
    _print_export(screen, made)
    write_result(
        json_file,
        "convert",
        {"file": str(made.path), "bytes": made.bytes, "graph_sha256": made.graph.sha256,
         "operators": made.operators, "samples": made.samples, "accuracy": made.accuracy,
         "qkeras_accuracy": made.qkeras_accuracy, "agreement": made.agreement,
         "runtimes": [vars(runtime) for runtime in made.runtimes]},
    )  # fmt: skip


def _to_folder(
    screen: Any, trained: Path, out: Path, samples: int | None, note: str, json_file: str | None
) -> None:
    from tinyrobust.zoo import int8 as zoo_int8

    _, card = zoo_int8.make(
        trained, out, samples=samples, data_note=note,
        say=lambda line: screen.print(line, style="dim"),
    )  # fmt: skip
    accuracy = card["accuracy"]
    screen.print(
        f"int8 {accuracy['integer']:.2%}, float {card['keras']['accuracy']:.2%} of "
        f"{accuracy['samples']:,} test images"
    )
    screen.print(f"wrote {out}")
    write_result(json_file, "convert", {"folder": str(out), "card": card})


def _print_export(screen: Any, made: Export) -> None:
    from rich.table import Table

    table = Table("", made.path.name, show_header=True)
    operators = ", ".join(f"{n} x {op}" for op, n in made.operators.items())
    table.add_row("nodes", operators)
    table.add_row("QKeras", f"{made.qkeras_accuracy:.2%} of {made.samples:,}")
    table.add_row("int8", f"{made.accuracy:.2%} of {made.samples:,}")
    table.add_row("same class as QKeras", f"{made.agreement:.3%}")
    for runtime in made.runtimes:
        table.add_row(
            f"{runtime.name} {runtime.version}",
            f"reference kernels: {runtime.differing:,} of {runtime.integers:,} outputs differ; "
            f"default kernels: same class {runtime.agreement:.2%}",
        )
    screen.print(table)
    screen.print(f"wrote {made.path}, {made.bytes:,} bytes")
