"""The hls4ml back end ``CortexM`` and its writer.

In: an hls4ml ModelGraph. One of Keras is lowered behind hls4ml's ``optimize`` flow; for one of
ONNX the file itself is read (``convert/qonnx``), since hls4ml's passes know neither depthwise
convolutions nor scales per channel there. Out: ``write()`` leaves ``model.graph.npz`` and
``hls_config.json``, ``compile()`` builds the generated C++ as a host library that ``predict()``
runs, ``build()`` makes the firmware ELF. Both call the one build stage, ``tinyrobust.image``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hls4ml.backends.backend import get_available_backends, register_backend
from hls4ml.backends.fpga.fpga_backend import FPGABackend
from hls4ml.model.flow import register_flow
from hls4ml.model.optimizer import model_optimizer
from hls4ml.writer.writers import Writer, register_writer

from tinyrobust.artefact import write_json
from tinyrobust.convert.lowering import INPUT_BITS, INPUT_SHIFT, Lowered, hls_config, lower
from tinyrobust.convert.names import BACKEND
from tinyrobust.convert.qonnx import reader as qonnx
from tinyrobust.errors import ConvertError
from tinyrobust.graph import Graph, file

DEFAULT_BOARD = "nucleo-h743"
_LOWERED = "CortexMLowered"


class CortexM(FPGABackend):
    """Integer-only C++17 for Arm Cortex-M; all types are chosen by ``convert.formats``."""

    def __init__(self) -> None:
        super().__init__(BACKEND)
        lowering = register_flow("lower", ["cortexm:lower_to_graph"], backend=BACKEND)
        self._flow = register_flow("ip", None, requires=[lowering], backend=BACKEND)
        self._writer_flow = register_flow(
            "write", ["cortexm:write_graph"], requires=[self._flow], backend=BACKEND
        )

    def get_default_flow(self) -> str:
        """hls4ml: the flow that a conversion runs."""
        return str(self._flow)

    def get_writer_flow(self) -> str:
        """hls4ml: the flow that ``write()`` runs."""
        return str(self._writer_flow)

    def create_initial_config(
        self, model_name: str | None = None, task: str = "custom", labels: tuple[str, ...] = (),
        made_from: str = "", board: str = DEFAULT_BOARD, **_: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """hls4ml: options of ``convert_from_keras_model`` that belong to this back end."""
        return {
            "IOType": "io_parallel", "HLSConfig": {}, "ModelName": model_name, "Task": task,
            "Labels": list(labels), "MadeFrom": made_from, "Board": board,
        }  # fmt: skip

    @model_optimizer()
    def lower_to_graph(self, model: Any) -> bool:
        """Flow step: the integer Graph, kept with the model; see ``graph_of``."""
        get = model.config.get_config_value
        name, task, labels = get("ModelName") or get("ProjectName"), get("Task"), get("Labels")
        if "PytorchModel" in model.config.config:
            raise ConvertError(
                f"{BACKEND} takes no PyTorch modules, whose numbers are floats",
                "train with Brevitas, export QONNX, and use convert_from_onnx_model",
            )
        if "OnnxModel" in model.config.config:
            onnx_model = model.config.config["OnnxModel"]
            graph = qonnx.convert(onnx_model, name=name, task=task, labels=tuple(labels))
            model.config.config[_LOWERED] = Lowered(graph, {}, {})
            return False
        model.apply_flow("optimize")
        classes = int(np.prod(model.get_output_variables()[0].shape))
        lowered = lower(
            model,
            name=name,
            task=task,
            labels=tuple(labels) or tuple(str(i) for i in range(classes)),
            made_from=get("MadeFrom"),
        )
        _check_wanted(model, lowered)
        model.config.config[_LOWERED] = lowered
        _apply(model, lowered)
        return False

    @model_optimizer()
    def write_graph(self, model: Any) -> bool:
        """Flow step: write the Graph and the configuration."""
        self.writer.write_hls(model)
        return False

    def compile(self, model: Any) -> str:
        """Build the host library of the generated C++; returns its path."""
        from tinyrobust import image

        return str(image.host_library(graph_of(model), Path(model.config.get_output_dir())))

    def predict(self, model: Any, x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Logits of the compiled library for images: uint8, or floats q / 128 as Keras takes them.

        Raises ConvertError when the model was not compiled or floats are outside 0..1.
        """
        from tinyrobust import image

        library = model._top_function_lib
        if library is None:
            raise ConvertError("the model is not compiled", "call compile() first")
        graph = graph_of(model)
        images = _images(x).reshape(-1, *graph.input.shape)
        scores = image.HostModel(Path(library._name)).predict(images)
        return np.asarray(scores, np.float64) * 2.0**-graph.output.frac_bits

    def build(self, model: Any, board: str | None = None, **_: Any) -> Any:
        """Build the firmware for ``board``; returns the Image (ELF, bin, hex, memory report)."""
        from tinyrobust import boards, image

        graph = graph_of(model)
        target = boards.load(board or model.config.get_config_value("Board"))
        out = Path(model.config.get_output_dir()) / target.id
        return image.build(graph, target, out, model_name=graph.name)


class GraphWriter(Writer):
    """Writes ``model.graph.npz`` and ``hls_config.json`` to the output folder."""

    def write_hls(self, model: Any) -> None:
        """hls4ml: write the project."""
        out = Path(model.config.get_output_dir())
        lowered = lowered_of(model)
        file.save(lowered.graph, out / f"model{file.SUFFIX}")
        write_json(out / "hls_config.json", hls_config(lowered))


def lowered_of(model: Any) -> Lowered:
    """The result of the conversion of a ModelGraph made with ``backend='CortexM'``."""
    found = model.config.config.get(_LOWERED)
    if not isinstance(found, Lowered):
        raise ConvertError(
            f"this hls4ml model was not converted with backend='{BACKEND}'",
            f"give backend='{BACKEND}' to hls4ml's convert_from_keras_model",
        )
    return found


def graph_of(model: Any) -> Graph:
    """The integer Graph of a ModelGraph made with ``backend='CortexM'``."""
    return lowered_of(model).graph


def _images(x: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if x.dtype == np.uint8:
        return x
    codes = np.floor(np.asarray(x, np.float64) * (1 << INPUT_BITS))
    if codes.size and (codes.min() < 0 or codes.max() >= 1 << INPUT_BITS):
        raise ConvertError(
            "images must be uint8 or floats in 0 <= x < 1", "use x = (u8 >> 1) / 128"
        )
    return (codes.astype(np.uint8) << INPUT_SHIFT).astype(np.uint8)


def _check_wanted(model: Any, lowered: Lowered) -> None:
    """Types that the user asked for by layer name must be those that the arithmetic has."""
    wanted = model.config.layer_name_precision
    convert = model.config.backend.convert_precision_string
    for layer, types in lowered.precision.items():
        for variable, kind in types.items():
            asked = wanted.get(f"{layer.lower()}_{variable}", "auto")
            if str(asked).lower() == "auto":
                continue
            have, want = convert(kind), convert(asked)
            same = (have.width, have.integer, have.signed) == (
                want.width,
                want.integer,
                want.signed,
            )
            if not same and hasattr(have, "integer"):
                raise ConvertError(
                    f"layer '{layer}': the configuration asks for {variable} {asked}, the "
                    f"arithmetic of {BACKEND} has {kind}",
                    "leave it out or set it to 'auto': the types are chosen from the weights",
                )


def _apply(model: Any, lowered: Lowered) -> None:
    convert = model.config.backend.convert_precision_string
    for layer in model.get_layers():
        types = lowered.precision.get(layer.name, {})
        if "result" in types:
            layer.get_output_variable().type.precision = convert(types["result"])
        for variable, weight in layer.weights.items():
            if variable in types:
                weight.update_precision(convert(types[variable]))


if BACKEND.lower() not in get_available_backends():
    register_writer(BACKEND, GraphWriter)
    register_backend(BACKEND, CortexM)
