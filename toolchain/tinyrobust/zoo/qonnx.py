"""A model's folder from a QONNX file: the Graph, the file itself, golden vectors, and checks.

In: an ONNX file and, where there is one, the task that it was trained for. Out: a folder with
``model.graph.npz``, ``model.onnx`` and ``golden.npz``, complete or not there at all, that
``--model`` of every command takes; and what the checks found: accuracy, qonnx's own executor,
hls4ml's C simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyrobust import artefact, tasks
from tinyrobust.convert import rebuilt
from tinyrobust.convert.qonnx import executor, reader
from tinyrobust.convert.qonnx.executor import Compared
from tinyrobust.errors import ConvertError
from tinyrobust.graph import Graph, file, interpreter
from tinyrobust.graph.reorder import reorder
from tinyrobust.writing import replacing
from tinyrobust.zoo.folder import GOLDEN_IMAGES, GOLDEN_SEED, Say, golden

GRAPH_FILE = f"model{file.SUFFIX}"
SOURCE_FILE = "model.onnx"
NO_TASK = "custom"
EXECUTOR_IMAGES = 100  # qonnx's executor takes them one by one


@dataclass(frozen=True)
class Made:
    """What was written, and what the checks found; None: not asked for, or no task to do it on."""

    folder: Path
    graph: Graph
    accuracy: float | None
    samples: int
    executor: Compared
    differing: int | None
    compared: int


def make(
    source: Path, out: Path, *, task: str | None = None, samples: int | None = None,
    oracle_images: int = 20, keep_order: bool = False, say: Say = lambda line: None,
) -> Made:  # fmt: skip
    """Convert the QONNX file ``source`` into the folder ``out``; an older one is replaced.

    ``samples``: test images of ``task`` for accuracy (all by default); without a task images are
    drawn at random. Raises ConvertError naming what cannot be converted, and when hls4ml's C
    simulation differs; then nothing is written.
    """
    if out.exists() and not (out / GRAPH_FILE).is_file():
        raise ConvertError(f"{out} exists and is no model folder", "give another --out")
    labels = tasks.get(task).labels if task else ()
    graph = reader.convert(source, name=out.name, task=task or NO_TASK, labels=tuple(labels))
    images, classes = _images(graph, task, samples)
    if not keep_order:
        say("looking for an order of the channels in which neighbours share work")
        graph = reorder(graph).graph
    few = images[:EXECUTOR_IMAGES]
    say(f"running {len(few)} images through qonnx's own executor")
    compared = executor.compare(source, graph, few)
    accuracy = None
    if task:
        say(f"running {len(images):,} test images through the integers")
        accuracy = float(np.mean(interpreter.run(graph, images).argmax(1) == classes))
    differing, total = _simulate(graph, images[:oracle_images], say)
    with replacing(out) as folder:
        file.save(graph, folder / GRAPH_FILE)
        artefact.write_bytes(folder / SOURCE_FILE, source.read_bytes())
        artefact.write_bytes(folder / "golden.npz", golden(graph, images, classes))
    return Made(out, graph, accuracy, len(images) if task else 0, compared, differing, total)


def _images(
    graph: Graph, task: str | None, samples: int | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Test images of the task and their classes; without a task, noise and the Graph's classes."""
    if task:
        images, labels = tasks.get(task).load("test", samples)
        if images.shape[1:] != graph.input.shape:
            raise ConvertError(
                f"the network takes images {graph.input.shape}, task '{task}' has "
                f"{images.shape[1:]}", "give the task that it was trained for",
            )  # fmt: skip
        return images, labels
    rng = np.random.default_rng(GOLDEN_SEED)
    count = min(samples or EXECUTOR_IMAGES, EXECUTOR_IMAGES)
    images = rng.integers(0, 256, (max(count, GOLDEN_IMAGES), *graph.input.shape), dtype=np.uint8)
    return images, interpreter.run(graph, images).argmax(1)


def _simulate(graph: Graph, images: npt.NDArray[np.uint8], say: Say) -> tuple[int | None, int]:
    if not len(images):
        return None, 0
    say(f"compiling hls4ml's C simulation; every layer's integers on {len(images)} images")
    found, expected = rebuilt.for_graph(graph).trace(images), interpreter.trace(graph, images)
    differing = {name: int((found[name] != expected[name]).sum()) for name in expected}
    if any(differing.values()):
        worst = max(differing, key=lambda name: differing[name])
        raise ConvertError(
            f"hls4ml's C simulation differs in {sum(differing.values()):,} integers, most in "
            f"'{worst}'", "this is a fault of the converter; please report it with the file",
        )  # fmt: skip
    return 0, sum(int(value.size) for value in expected.values())
