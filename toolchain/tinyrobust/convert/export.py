"""Our own models as ``.tflite`` files: int8 by TensorFlow's converter, checked by other runtimes.

In: a trained-model folder. Out: the file and an Export with its figures. The file is read back
through ``tflite.py``; the Graph made of it must give the same integers as the reference kernels
of the runtimes in EXACT that are installed, before the file is written.

The file's input is ``image / 256``, quantised so that its int8 code is the uint8 image minus 128:
the firmware built from the file takes the task's images as they are.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust import artefact, graph, tasks
from tinyrobust.convert.plain import plain_model
from tinyrobust.convert.qkeras import check_trained
from tinyrobust.errors import ConvertError, TinyRobustError
from tinyrobust.graph import Graph
from tinyrobust.tflite import importer as tflite

Images = npt.NDArray[np.uint8]
Say = Callable[[str], None]
REPRESENTATIVE = 200  # training images for the converter's calibration
RUNTIME_IMAGES = 500  # the reference kernels take tens of milliseconds an image
RUNTIMES = {
    "tensorflow": "tensorflow.lite.python.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "ai-edge-litert": "ai_edge_litert.interpreter",
}
# LiteRT 2.3.0 rounds FULLY_CONNECTED otherwise than TensorFlow 2.15.1 (about one output in a
# thousand is off by one); its other reference kernels give the same integers.
EXACT = ("tensorflow", "tflite-runtime")


@dataclass(frozen=True)
class Runtime:
    """One runtime beside the Graph on the first RUNTIME_IMAGES test images.

    ``differing`` and ``integers`` count outputs of its reference kernels that differ; ``agreement``
    is the share of images of the same class with its default kernels (XNNPACK rounds otherwise).
    """

    name: str
    version: str
    differing: int
    integers: int
    agreement: float


@dataclass(frozen=True)
class Export:
    """``accuracy`` of the file's integers and of QKeras's float forward on ``samples`` images."""

    path: Path
    graph: Graph
    bytes: int
    operators: dict[str, int]
    samples: int
    accuracy: float
    qkeras_accuracy: float
    agreement: float
    runtimes: tuple[Runtime, ...]


def to_tflite(
    trained: Path, out: Path, *, samples: int | None = None, say: Say = lambda line: None
) -> Export:
    """Write ``out``, the int8 form of the model in the folder ``trained``.

    ``samples``: test images for accuracy (all by default). Raises ConvertError when the folder is
    no trained model, a layer has no plain form, or a runtime's reference kernels give other
    integers than the Graph; then nothing is written.
    """
    if out.suffix != tflite.SUFFIX:
        raise ConvertError(f"{out} does not end in {tflite.SUFFIX}", "give --out FILE.tflite")
    check_trained(trained)
    from tinyrobust import recipes, train
    from tinyrobust.train.inference import Predictor

    train.require()
    try:
        recipe = recipes.load(trained / "recipe.yaml")
        task = tasks.get(recipe.task)
        model = train.rebuild(trained)
    except ConvertError:
        raise
    except TinyRobustError as error:
        raise ConvertError(f"{trained}: {error.message}", error.hint) from error
    say("re-exporting with plain Keras layers, converting with a representative set")
    training, _ = task.load("train", REPRESENTATIVE)
    data = convert(plain_model(model), training)
    net = tflite.from_bytes(data, name=out.stem, where=str(out))
    images, labels = task.load("test", samples)
    say(f"running {len(images):,} test images through the integers, QKeras and the runtimes")
    scores = graph.run(net, images)
    runtimes = tuple(
        _check(name, data, images[:RUNTIME_IMAGES], scores[:RUNTIME_IMAGES]) for name in installed()
    )
    wrong = [f"{r.name} {r.version}: {r.differing:,} of {r.integers:,}"
             for r in runtimes if r.differing and r.name in EXACT]  # fmt: skip
    if wrong:
        raise ConvertError(
            f"the reference kernels differ from the Graph in outputs: {', '.join(wrong)}",
            "this is a fault of the converter; please report it",
        )
    logits = Predictor(model).logits(images)
    artefact.write_bytes(out, data)
    return Export(
        path=out, graph=net, bytes=len(data), operators=_operators(net), samples=len(images),
        accuracy=float(np.mean(scores.argmax(1) == labels)),
        qkeras_accuracy=float(np.mean(logits.argmax(1) == labels)),
        agreement=float(np.mean(logits.argmax(1) == scores.argmax(1))), runtimes=runtimes,
    )  # fmt: skip


def convert(model: Any, images: Images) -> bytes:
    """int8 ``.tflite`` of a plain Keras model whose input is ``image / 256``.

    ``images``: the representative set; one that holds every value is put in front, so that the
    input's scale is 1/256 and its zero point -128.
    """
    import tensorflow as tf

    whole = np.resize(np.array([0, 255], np.uint8), images.shape[1:])

    def representative() -> Iterator[list[npt.NDArray[np.float32]]]:
        for image in (whole, *images):
            yield [image[None].astype(np.float32) / np.float32(256)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def installed() -> list[str]:
    """The runtimes that can be imported here."""
    return [name for name, module in RUNTIMES.items() if find_spec(module.partition(".")[0])]


def _check(name: str, data: bytes, images: Images, scores: npt.NDArray[np.int32]) -> Runtime:
    module = importlib.import_module(RUNTIMES[name])
    reference = _outputs(
        module, data, images, experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF
    )
    default = _outputs(module, data, images)
    package = importlib.import_module(RUNTIMES[name].partition(".")[0])
    return Runtime(
        name=name,
        version=str(getattr(package, "__version__", "")),
        differing=int(np.count_nonzero(reference != scores)),
        integers=int(scores.size),
        agreement=float(np.mean(default.argmax(1) == scores.argmax(1))),
    )


def _outputs(module: Any, data: bytes, images: Images, **options: Any) -> npt.NDArray[np.int32]:
    interpreter = module.Interpreter(model_content=data, num_threads=1, **options)
    interpreter.allocate_tensors()
    source, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for image in images:
        q = (image.astype(np.int16) - 128).astype(np.int8).reshape(source["shape"])
        interpreter.set_tensor(source["index"], q)
        interpreter.invoke()
        found.append(interpreter.get_tensor(out["index"]).reshape(-1).astype(np.int32))
    return np.array(found)


def _operators(net: Graph) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in net.nodes:
        counts[node.op] = counts.get(node.op, 0) + 1
    return counts
