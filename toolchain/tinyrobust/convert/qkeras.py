"""From a trained folder to a Graph, and how far QKeras's float forward is from it.

In: a trained-model folder. Out: a ``Converted`` (Keras model, Graph, hls4ml configuration) and an
``Agreement``. QKeras is not the specification: its batch norm works in float32 and its
activations round half to even, so a few values differ by one step; the report says how many.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust import artefact
from tinyrobust.convert.plugin import from_keras, require_qkeras
from tinyrobust.errors import ConvertError, TinyRobustError
from tinyrobust.graph import GlobalAveragePool, Graph, Requantize, interpreter

PIECES = ("recipe.yaml", "weights.npz", "training.json")
REQUIRED_AGREEMENT = 0.995
LOGIT_STEP_BITS = 3
CLIP = 4
_BATCH = 64


@dataclass(frozen=True)
class Converted:
    """What conversion of one trained folder gives."""

    keras_model: Any
    graph: Graph
    hls_config: dict[str, Any]
    significant_bits: dict[str, int]
    recipe: Any
    training: dict[str, Any]


@dataclass(frozen=True)
class Agreement:
    """QKeras's float forward beside the Graph, on ``samples`` images.

    ``differences``: per activation tensor, and for the scores, how often QKeras minus Graph is
    -4 (or less) .. 4 (or more) steps; a step is the tensor's own, for scores 2**-3.
    """

    samples: int
    same_class: int
    traced: int
    differences: dict[str, dict[str, int]]
    worst_logit_difference: float

    @property
    def fraction(self) -> float:
        """Share of the images with the same predicted class."""
        return self.same_class / self.samples

    @property
    def enough(self) -> bool:
        """Whether the share reaches REQUIRED_AGREEMENT."""
        return self.fraction >= REQUIRED_AGREEMENT


def convert_trained(folder: Path) -> Converted:
    """Convert the trained model in ``folder`` through the hls4ml plug-in.

    Raises ConvertError when a piece is missing or damaged, a layer cannot be converted, or the
    training extra is not installed.
    """
    training = check_trained(folder)
    require_qkeras()
    from tinyrobust import recipes, tasks, train
    from tinyrobust.convert.backend import lowered_of
    from tinyrobust.convert.lowering import INPUT_BITS, hls_config

    try:
        recipe = recipes.load(folder / "recipe.yaml")
        if recipe.network.input_bits != INPUT_BITS:
            raise ConvertError(
                f"recipe {recipe.name} takes {recipe.network.input_bits} bits of the input, "
                f"the device keeps {INPUT_BITS}",
                f"train with network.input_bits={INPUT_BITS}, or export an int8 .tflite file",
            )
        task = tasks.get(recipe.task)
        model = train.rebuild(folder)
    except ConvertError:
        raise
    except TinyRobustError as error:
        raise ConvertError(f"{folder}: {error.message}", error.hint) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ConvertError(
            f"{folder}/weights.npz is damaged or truncated ({error})", "train again"
        ) from error
    with tempfile.TemporaryDirectory(prefix="tinyrobust-convert-") as out:
        lowered = lowered_of(from_keras(
            model, output_dir=Path(out), model_name=recipe.name, task=recipe.task,
            labels=task.labels, made_from=artefact.sha256((folder / "weights.npz").read_bytes()),
        ))  # fmt: skip
    return Converted(
        model, lowered.graph, hls_config(lowered), lowered.significant_bits, recipe, training
    )


def check_trained(folder: Path) -> dict[str, Any]:
    """The content of training.json; raises ConvertError unless the folder has all pieces."""
    if not folder.is_dir():
        raise ConvertError(f"no trained model at {folder}", "give the folder `train` wrote")
    missing = [name for name in PIECES if not (folder / name).is_file()]
    if missing:
        raise ConvertError(
            f"{folder} is no finished trained model: {', '.join(missing)} missing",
            "finish the training with --resume, or train again",
        )
    try:
        training = json.loads((folder / "training.json").read_text())
    except (OSError, ValueError) as error:
        raise ConvertError(f"{folder}/training.json is damaged: {error}", "train again") from error
    if not isinstance(training, dict):
        raise ConvertError(f"{folder}/training.json is not a JSON object", "train again")
    return training


def agreement(
    keras_model: Any, graph: Graph, images: npt.NDArray[np.uint8],
    scores: npt.NDArray[np.int32] | None = None, *, trace: int = 200,
) -> Agreement:  # fmt: skip
    """Compare QKeras with the Graph: classes on all images, every activation on ``trace``."""
    from tinyrobust.train.layers import keras

    if scores is None:
        scores = interpreter.run(graph, images)
    names = [
        n.output for n in graph.nodes
        if isinstance(n, Requantize) or (isinstance(n, GlobalAveragePool) and n.rounding)
    ]  # fmt: skip
    outputs = [keras_model.get_layer(name).output for name in names]
    model = keras.Model(keras_model.input, outputs)
    counts = {name: np.zeros(2 * CLIP + 1, np.int64) for name in names}
    same, worst = 0, 0.0
    for i in range(0, len(images), _BATCH):
        batch = images[i : i + _BATCH]
        values = dict(zip(names, _forward(model, batch), strict=True))
        logits = values[graph.output.name].astype(np.float64)
        given = scores[i : i + _BATCH]
        same += int((logits.argmax(1) == given.argmax(1)).sum())
        difference = logits - given * 2.0**-graph.output.frac_bits
        worst = max(worst, float(np.abs(difference).max()))
        _count(counts[graph.output.name], difference * 2.0**LOGIT_STEP_BITS)
        if i < trace:
            for name, exact in interpreter.trace(graph, batch).items():
                if name in counts and name != graph.output.name:
                    steps = values[name] * 2.0 ** graph.tensor[name].frac_bits
                    _count(counts[name], steps - exact)
    differences = {
        name: {str(d - CLIP): int(n) for d, n in enumerate(count) if n}
        for name, count in counts.items()
    }
    traced = min(len(images), -(-trace // _BATCH) * _BATCH)
    return Agreement(len(images), same, traced, differences, worst)


def _forward(model: Any, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    from tinyrobust.train.layers import input_values

    values = model(input_values(images), training=False)
    return [v.numpy() for v in (values if isinstance(values, list) else [values])]


def _count(into: npt.NDArray[np.int64], difference: npt.NDArray[np.float64]) -> None:
    steps = np.clip(np.rint(difference), -CLIP, CLIP).astype(np.int64).ravel() + CLIP
    into += np.bincount(steps, minlength=2 * CLIP + 1)
