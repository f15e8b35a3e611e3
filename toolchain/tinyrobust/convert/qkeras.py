"""From a trained folder to a Graph, and how far QKeras's float forward is from it.

In: a trained-model folder. Out: a ``Converted`` (Keras model, Graph, hls4ml configuration) and an
``Agreement``. QKeras is not the specification: its batch norm works in float32 and its
activations round half to even, so a few values differ by one step, which ones depends on the
processor; the report says how many. The integers are proved by hls4ml's simulation
(``oracle``); that the predicted classes agree is a statistic, and judged as one.
"""

from __future__ import annotations

import json
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
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
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
    reach = rounding_reach(graph)
    for i in range(0, len(images), _BATCH):
        batch = images[i : i + _BATCH]
        values = dict(zip(names, _forward(model, batch), strict=True))
        logits = values[graph.output.name].astype(np.float64)
        given = scores[i : i + _BATCH]
        difference = logits - given * 2.0**-graph.output.frac_bits
        theirs, ours = logits.argmax(1), given.argmax(1)
        rows = np.arange(len(batch))
        moved = difference[rows, theirs] - difference[rows, ours]
        other = theirs != ours
        same += int((~other).sum())
        unexplained += int((other & (moved > reach[theirs] + reach[ours])).sum())
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


def rounding_reach(graph: Graph) -> npt.NDArray[np.float64]:
    """By how much each score moves when every input of the last layer is off by one step, all in
    the worst direction, in the units of the scores' float values: ``m * (weights that are not
    zero) / 2**16``, and one for the floor.

    An activation is rounded once in either arithmetic, so one step is what rounding explains;
    more than all of them at once it cannot."""
    last = graph.nodes[-1]
    assert isinstance(last, Requantize)
    makers = {node.output: node for node in graph.nodes}
    total = np.ones(graph.output.size)
    for row, name in zip(np.abs(last.multipliers.astype(np.int64)), last.inputs, strict=True):
        maker = makers[name]
        terms: Any = 1
        if isinstance(maker, TERNARY):
            terms = np.count_nonzero(maker.weights.reshape(len(maker.weights), -1), axis=1)
        total += row * terms / 65536
    return np.asarray(total * 2.0**-graph.output.frac_bits)


def _forward(model: Any, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    from tinyrobust.train.layers import input_values

    values = model(input_values(images), training=False)
    return [v.numpy() for v in (values if isinstance(values, list) else [values])]


def _count(into: npt.NDArray[np.int64], difference: npt.NDArray[np.float64]) -> None:
    steps = np.clip(np.rint(difference), -CLIP, CLIP).astype(np.int64).ravel() + CLIP
    into += np.bincount(steps, minlength=2 * CLIP + 1)
