"""From a trained folder to a Graph, and how far QKeras's float forward is from it.

In: a trained-model folder. Out: a ``Converted`` (Keras model, Graph, hls4ml configuration) and an
``Agreement``. QKeras is not the specification: its batch norm works in float32 and its
activations round half to even, so a few values differ by one step, which ones depends on the
processor; the report says how many. The integers are proved by hls4ml's simulation
(``oracle``); that the predicted classes agree is a statistic, and judged as one.
"""

from __future__ import annotations

import json
import math
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
from tinyrobust.graph.nodes import TERNARY
from tinyrobust.statistics import wilson
from tinyrobust.writing import scratch

PIECES = ("recipe.yaml", "weights.npz", "training.json")
REQUIRED_AGREEMENT = 0.995
# Share of a layer's values that the float arithmetic rounds to the next step: in the cards of
# models/zoo at most 0.0053 of any layer's, up as often as down.
ROUNDED_OTHERWISE = 0.02
BEYOND_REACH = 0.001  # of the images of a right network, a fifth of what may disagree
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
    ``same_class``: images with the same predicted class; ``unexplained``: of the others those
    whose two scores moved against each other by more than ``rounding_reach`` allows.
    """

    samples: int
    same_class: int
    unexplained: int
    traced: int
    differences: dict[str, dict[str, int]]
    worst_logit_difference: float

    @property
    def fraction(self) -> float:
        """Share of the images with the same predicted class."""
        return self.same_class / self.samples

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share whose class is the same but for rounding."""
        return wilson(self.samples - self.unexplained, self.samples)

    @property
    def enough(self) -> bool:
        """False when significantly fewer than REQUIRED_AGREEMENT agree: the whole interval lies
        below it."""
        return self.interval[1] >= REQUIRED_AGREEMENT


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
    except (
        OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile,
        zlib.error,
    ) as error:  # fmt: skip
        raise ConvertError(
            f"{folder}/weights.npz is damaged or truncated ({error})", "train again"
        ) from error
    with scratch("convert") as out:
        lowered = lowered_of(from_keras(
            model, output_dir=out, model_name=recipe.name, task=recipe.task,
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
    same, unexplained, worst = 0, 0, 0.0
    for i in range(0, len(images), _BATCH):
        batch = images[i : i + _BATCH]
        values = dict(zip(names, _forward(model, batch), strict=True))
        logits = values[graph.output.name].astype(np.float64)
        given = scores[i : i + _BATCH]
        difference = logits - given * 2.0**-graph.output.frac_bits
        other, beyond = judge(graph, logits, given)
        same += len(batch) - other
        unexplained += beyond
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
    return Agreement(len(images), same, unexplained, traced, differences, worst)


def judge(
    graph: Graph, theirs: npt.NDArray[np.float64], ours: npt.NDArray[np.int32]
) -> tuple[int, int]:
    """How many images have another class in QKeras's scores ``theirs`` (N, classes; float values)
    than in the Graph's integers ``ours``, and how many of these rounding does not explain: the two
    classes' scores moved against each other by more than ``rounding_reach``."""
    difference = theirs - ours * 2.0**-graph.output.frac_bits
    rows, a, b = np.arange(len(ours)), theirs.argmax(1), ours.argmax(1)
    moved = difference[rows, a] - difference[rows, b]
    return int((a != b).sum()), int(((a != b) & (moved > rounding_reach(graph)[a, b])).sum())


def rounding_reach(graph: Graph) -> npt.NDArray[np.float64]:
    """By how much rounding moves two scores against each other in all but one of 1,000 images:
    (classes, classes), in the scores' float values.

    Each input of the last layer is off by a step up or down with probability ROUNDED_OTHERWISE; the
    difference of two scores is their sum under the difference of the two rows of weights (times
    multiplier / 2**16), and Bernstein's inequality bounds it: ``Lb/3 + sqrt((Lb/3)**2 + 2VL)`` with
    variance V, largest term b and L = ln(2 / BEYOND_REACH) (Boucheron, Lugosi, Massart,
    Concentration Inequalities, 2013, section 2.8). Each score's own floor adds one. That every
    input were off in the worst direction would explain any margin of a network of many inputs."""
    last = graph.nodes[-1]
    assert isinstance(last, Requantize)
    makers = {node.output: node for node in graph.nodes}
    rows = []
    for multipliers, name in zip(last.multipliers, last.inputs, strict=True):
        maker, scale = makers.get(name), multipliers.astype(np.float64).ravel() / 65536
        weights = np.eye(graph.output.size)
        if isinstance(maker, TERNARY):
            weights = maker.weights.reshape(len(maker.weights), -1).astype(np.float64)
        rows.append(scale[:, None] * weights)
    terms = np.hstack(rows)
    squares = (terms**2).sum(axis=1)
    apart = np.maximum(squares[:, None] + squares - 2 * terms @ terms.T, 0)
    largest = np.abs(terms).max(axis=1)
    confidence = math.log(2 / BEYOND_REACH)
    linear = confidence * (largest[:, None] + largest) / 3
    reach = linear + np.sqrt(linear**2 + 2 * ROUNDED_OTHERWISE * apart * confidence) + 2
    return np.asarray(reach * 2.0**-graph.output.frac_bits)


def _forward(model: Any, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    from tinyrobust.train.layers import input_values

    values = model(input_values(images), training=False)
    return [v.numpy() for v in (values if isinstance(values, list) else [values])]


def _count(into: npt.NDArray[np.int64], difference: npt.NDArray[np.float64]) -> None:
    steps = np.clip(np.rint(difference), -CLIP, CLIP).astype(np.int64).ravel() + CLIP
    into += np.bincount(steps, minlength=2 * CLIP + 1)
