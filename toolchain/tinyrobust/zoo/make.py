"""A zoo model's folder: the Graph, what it was made from, golden vectors, and its card.

In: a trained-model folder. Out: a folder with ``model.graph.npz``, ``train/``, ``golden.npz``,
``card.json`` and ``card.md``, complete or not there at all; with ``order.json`` where the channels
have another order than in training (``order.py``).

``int8.tflite`` is its int8 twin (``int8.py``), if one was asked for. ``golden.npz``:
``folder.py``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import tinyrobust
from tinyrobust import artefact, tasks
from tinyrobust.convert import order
from tinyrobust.convert.qkeras import (
    PIECES,
    REQUIRED_AGREEMENT,
    Agreement,
    Converted,
    agreement,
    convert_trained,
)
from tinyrobust.errors import ConvertError, GraphError
from tinyrobust.graph import Graph, file, interpreter
from tinyrobust.graph.reorder import reorder
from tinyrobust.writing import replacing
from tinyrobust.zoo import card, int8
from tinyrobust.zoo.folder import Say, golden

_TWIN_IMAGES = 2000  # int8 takes longer in the interpreter
_REORDER_CHECKED = 500  # images whose scores are compared before and after
GRAPH_FILE = f"model{file.SUFFIX}"
_COPIED = (*PIECES, "curve.png")


@dataclass(frozen=True)
class Made:
    """A finished zoo folder and the figures of its card."""

    folder: Path
    graph: Graph
    card: dict[str, Any]


def make(
    trained: Path, out: Path, *, samples: int | None = None, oracle_images: int = 20,
    data_note: str = "", keep_order: bool = False, twin: bool = False, say: Say = lambda line: None,
) -> Made:  # fmt: skip
    """Convert ``trained`` and write the zoo folder ``out``, replacing an older one.

    ``samples``: test images for accuracy and agreement (all by default); ``oracle_images``: how
    many run through hls4ml's C simulation, every layer compared (0: none). Unless ``keep_order``
    the channels are put into an order that kernels like (``graph/reorder.py``). ``twin``: write
    ``int8.tflite`` too, the same network in int8, if the recipe has one. Raises ConvertError
    when the model cannot be converted, agrees with QKeras on significantly fewer than 99.5 % of
    the classes (``convert.qkeras.Agreement``), or differs from hls4ml's simulation in any integer;
    then nothing is written.
    """
    if out.exists() and not (out / GRAPH_FILE).is_file():
        raise ConvertError(f"{out} exists and is no model folder", "give another --out")
    say("converting through the hls4ml plug-in CortexM")
    converted = convert_trained(trained)
    graph = converted.graph
    images, labels = tasks.get(graph.task).load("test", samples)
    say(f"running {len(images):,} test images through the integers and through QKeras")
    scores = interpreter.run(graph, images)
    agreed = agreement(converted.keras_model, graph, images, scores)
    if not agreed.enough:
        worst = max(agreed.differences, key=lambda n: _off(agreed.differences[n]))
        raise ConvertError(
            f"QKeras and the integers predict the same class for {agreed.same_class:,} of "
            f"{agreed.samples:,} images; {agreed.unexplained:,} differ by more than rounding can "
            f"explain, so at most {agreed.interval[1]:.2%} agree (95 % interval), need "
            f"{REQUIRED_AGREEMENT:.1%}",
            f"layer '{worst}' differs most: look at its quantisers and batch norm, "
            "train again, or report the trained folder as a fault of the converter",
        )
    trained_graph = graph
    if not keep_order:
        say("looking for an order of the channels in which neighbours share work")
        reordered = reorder(graph)
        graph = reordered.graph
        if (interpreter.run(graph, images[:_REORDER_CHECKED]) != scores[:_REORDER_CHECKED]).any():
            raise ConvertError(
                "another order of the channels changed the scores",
                "this is a fault of the converter; please report it, and use --keep-order",
            )
    with replacing(out) as folder:
        (folder / "train").mkdir()
        for name in _COPIED:
            if (trained / name).is_file():
                artefact.write_bytes(folder / "train" / name, (trained / name).read_bytes())
        file.save(graph, folder / GRAPH_FILE)
        if not keep_order:
            order.save(folder, trained_graph, reordered)
        artefact.write_bytes(folder / "golden.npz", golden(graph, images, labels))
        checked = _check_oracle(folder, graph, images[:oracle_images], say)
        accuracy = float(np.mean(scores.argmax(1) == labels))
        figures = _card(converted, graph, agreed, accuracy, len(images), checked, data_note)
        if twin:
            say("exporting its int8 twin")
            few = min(len(images), _TWIN_IMAGES)
            figures["int8_twin"] = int8.write_twin(trained, folder, samples=few, say=say)
        artefact.write_json(folder / "card.json", figures)
        artefact.write_text(folder / "card.md", card.page(figures))
        _keep_adversarial(out, folder, graph)
    return Made(out, graph, figures)


def _off(histogram: dict[str, int]) -> float:
    return 1 - histogram.get("0", 0) / max(1, sum(histogram.values()))


def _check_oracle(
    folder: Path, graph: Graph, images: npt.NDArray[np.uint8], say: Say
) -> dict[str, Any] | None:
    if not len(images):
        return None
    from tinyrobust.convert import oracle

    say(f"compiling hls4ml's C simulation; every layer's integers on {len(images)} images")
    expected = interpreter.trace(graph, images)
    found = oracle.for_model(folder, graph).trace(images)
    differing = {name: int((found[name] != expected[name]).sum()) for name in expected}
    wrong = {name: n for name, n in differing.items() if n}
    if wrong:
        worst = next(iter(wrong))
        raise ConvertError(
            f"hls4ml's C simulation differs in {sum(wrong.values()):,} integers, first in layer "
            f"'{worst}' ({wrong[worst]:,})",
            "this is a fault of the converter; please report it with the trained folder",
        )
    compared = sum(int(value.size) for value in expected.values())
    return {"images": len(images), "compared_integers": compared, "differing_integers": 0}


def _card(
    converted: Converted, graph: Graph, agreed: Agreement, accuracy: float, samples: int,
    checked: dict[str, Any] | None, data_note: str,
) -> dict[str, Any]:  # fmt: skip
    training, recipe = converted.training, converted.recipe
    kernels = [n.arrays["weights"] for n in graph.nodes if "weights" in n.arrays]
    weights = sum(int(w.size) for w in kernels)
    return {
        "schema": card.SCHEMA,
        "name": graph.name,
        "task": graph.task,
        "description": recipe.description,
        "data": data_note or f"task '{graph.task}', test split",
        "recipe": recipe.model_dump(mode="json", by_alias=True),
        "graph_sha256": graph.sha256,
        "made_from": graph.made_from,
        "weights": weights,
        "weight_bytes": sum(-(-int(w.size) // 4) for w in kernels),
        "zero_weights": sum(int((w == 0).sum()) for w in kernels),
        "macs": sum(graph.macs(n) for n in graph.nodes),
        "seed": training.get("seed"),
        "training_seconds": training.get("seconds"),
        "training_versions": training.get("versions", {}),
        "tinyrobust_version": tinyrobust.__version__,
        "accuracy": {
            "integer": accuracy,
            "samples": samples,
            "float_before_batch_norm": training.get("test_accuracy_before_batch_norm"),
            "float_after_batch_norm": training.get("test_accuracy"),
            "float_samples": training.get("test_images"),
        },
        "qkeras": {
            "samples": agreed.samples,
            "same_class": agreed.same_class,
            "agreement": agreed.fraction,
            "beyond_rounding": agreed.unexplained,
            "worst_logit_difference": agreed.worst_logit_difference,
            "traced_images": agreed.traced,
            "differences": agreed.differences,
        },
        "hls4ml_simulation": checked,
        "multiplier_bits": converted.significant_bits,
        "known_weaknesses": card.weaknesses(recipe),
    }


def _keep_adversarial(old: Path, new: Path, graph: Graph) -> None:
    """Carry the adversarial set over when the Graph is still the same."""
    source = old / "adversarial.npz"
    if not source.is_file():
        return
    try:
        same = file.load(old / GRAPH_FILE).sha256 == graph.sha256
    except GraphError:  # damaged, or of an older schema: its set is not this Graph's
        same = False
    if same:
        shutil.copyfile(source, new / source.name)
