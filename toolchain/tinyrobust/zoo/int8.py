"""int8 models of the zoo: a network whose device form is a ``.tflite`` file, and int8 twins.

In: a trained-model folder. Out, for a network that has no ternary Graph (float, or integer
weights): a folder with ``model.tflite``, ``train/``, ``golden.npz``, ``card.json`` and
``card.md``, complete or not there at all. For a ternary one: the file ``int8.tflite`` of its
folder, the same network in int8, so that the two can be compared.

A ``.tflite`` file names no task and no classes; ``card.json`` beside it does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tinyrobust
from tinyrobust import artefact, tasks
from tinyrobust.convert import export
from tinyrobust.convert.models import MODEL_FILE, TWIN_FILE, named
from tinyrobust.convert.qkeras import PIECES, check_trained
from tinyrobust.errors import ConvertError
from tinyrobust.graph import Graph
from tinyrobust.writing import replacing
from tinyrobust.zoo import card
from tinyrobust.zoo.folder import Say, golden


def make(
    trained: Path, out: Path, *, samples: int | None = None, data_note: str = "",
    say: Say = lambda line: None,
) -> tuple[Graph, dict[str, Any]]:  # fmt: skip
    """Write the zoo folder ``out`` of ``trained`` in int8; its Graph and its card.

    ``samples``: test images for accuracy (all by default). Raises as ``export.to_tflite`` does, and
    ConvertError when ``out`` is something else than such a folder; then nothing is written.
    """
    if out.exists() and not (out / MODEL_FILE).is_file():
        raise ConvertError(f"{out} exists and is no int8 model folder", "give another --out")
    training = check_trained(trained)
    with replacing(out) as folder:
        (folder / "train").mkdir()
        for name in (*PIECES, "curve.png"):
            if (trained / name).is_file():
                artefact.write_bytes(folder / "train" / name, (trained / name).read_bytes())
        made = export.to_tflite(trained, folder / MODEL_FILE, samples=samples, say=say)
        from tinyrobust import recipes

        recipe = recipes.load(trained / "recipe.yaml")
        task = tasks.get(recipe.task)
        graph = named(made.graph, out.name, recipe.task, tuple(task.labels))
        images, labels = task.load("test", samples)
        artefact.write_bytes(folder / "golden.npz", golden(graph, images, labels))
        figures = _card(graph, made, recipe, training, data_note)
        artefact.write_json(folder / "card.json", figures)
        artefact.write_text(folder / "card.md", card.page(figures))
    return graph, figures


def write_twin(
    trained: Path, folder: Path, *, samples: int | None = None, say: Say = lambda line: None
) -> dict[str, Any]:
    """Write ``int8.tflite`` into ``folder``; what the card says of it."""
    made = export.to_tflite(trained, folder / TWIN_FILE, samples=samples, say=say)
    return {
        "file": TWIN_FILE, "bytes": made.bytes, "weight_bytes": weight_bytes(made.graph),
        "accuracy": made.accuracy, "samples": made.samples,
    }  # fmt: skip


def weight_bytes(graph: Graph) -> int:
    """Bytes of the weights of an int8 Graph."""
    return sum(int(n.arrays["weights"].size) for n in graph.nodes if "weights" in n.arrays)


def _card(
    graph: Graph, made: export.Export, recipe: Any, training: dict[str, Any], data_note: str
) -> dict[str, Any]:
    kernels = [n.arrays["weights"] for n in graph.nodes if "weights" in n.arrays]
    return {
        "schema": card.SCHEMA,
        "name": graph.name,
        "task": graph.task,
        "labels": list(graph.labels),
        "description": recipe.description,
        "data": data_note or f"task '{graph.task}', test split",
        "recipe": recipe.model_dump(mode="json", by_alias=True),
        "graph_sha256": graph.sha256,
        "made_from": graph.made_from,
        "weights": weight_bytes(graph),
        "weight_bytes": weight_bytes(graph),
        "zero_weights": sum(int((w == 0).sum()) for w in kernels),
        "file_bytes": made.bytes,
        "macs": sum(graph.macs(n) for n in graph.nodes),
        "seed": training.get("seed"),
        "training_seconds": training.get("seconds"),
        "training_versions": training.get("versions", {}),
        "tinyrobust_version": tinyrobust.__version__,
        "accuracy": {
            "integer": made.accuracy,
            "samples": made.samples,
            "float_before_batch_norm": training.get("test_accuracy_before_batch_norm"),
            "float_after_batch_norm": training.get("test_accuracy"),
            "float_samples": training.get("test_images"),
        },
        "keras": {"accuracy": made.qkeras_accuracy, "agreement": made.agreement},
        "runtimes": [vars(runtime) for runtime in made.runtimes],
        "known_weaknesses": card.weaknesses(recipe, input_bits=recipe.network.input_bits),
    }
