"""TensorFlow Lite's own reference kernels, as the independent check of family ``tflite``.

In: a ``.tflite`` file and samples (``graph/ports.py``). Out: int32 results as the Graph gives them.
Needs TensorFlow; imported late. ``BUILTIN_REF`` of TF 2.15.1 is the oracle: the default resolver
brings the XNNPACK delegate, which rounds differently.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import Graph, ports
from tinyrobust.graph.int8 import InputInt8
from tinyrobust.graph.nodes import Port


class Reference:
    """The model in ``data`` under ``OpResolverType.BUILTIN_REF``; ``graph`` is its Graph.

    One known fault of TF 2.15.1: FULLY_CONNECTED with per-channel weights and more than one row
    reads multipliers that are not there, other ones in every run; LiteRT 2.3.0 has it right.
    """

    def __init__(self, data: bytes, graph: Graph) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
        import tensorflow as tf

        self.version = str(tf.__version__)
        self._graph = graph
        self._data = data
        self._tf = tf

    def trace(self, images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.int32]]:
        """int32 (N, *shape) of every tensor of the Graph that the file has, by its name there.

        They are made outputs of the model for that: others are overwritten in place.
        """
        import tensorflow as tf
        from tensorflow.lite.tools import flatbuffer_utils as flatbuffer

        made: set[int] = set()
        model = flatbuffer.convert_bytearray_to_object(bytearray(self._data))
        for operator in model.subgraphs[0].operators:
            made.update(int(i) for i in operator.outputs)
        wanted = {}
        for tensor in self._graph.tensors:
            number, colon, _ = tensor.name.partition(":")
            own = tensor.name.count(":") > 1 or tensor.name.endswith(".slice")  # of the Graph alone
            if colon and int(number) in made and not own:
                wanted[tensor.name] = (int(number), tensor.shape)
        model.subgraphs[0].outputs = sorted({index for index, _ in wanted.values()})
        model.signatureDefs = None
        interpreter = _interpreter(tf, bytes(flatbuffer.convert_object_to_bytearray(model)))
        found: dict[str, list[npt.NDArray[np.int32]]] = {name: [] for name in wanted}
        for values in self._entering(interpreter, images):
            _run(interpreter, values)
            for name, (index, shape) in wanted.items():
                q = interpreter.get_tensor(index)
                signed = q.astype(np.int64) - (128 if q.dtype == np.uint8 else 0)
                found[name].append(signed.reshape(shape))
        return {name: np.array(values, np.int32) for name, values in found.items()}

    def scores(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
        """int32 (N, elements of all outputs) of samples, run in order from the first state on."""
        found = np.zeros((len(images), self._graph.output_count), np.int32)
        interpreter = _interpreter(self._tf, self._data)
        outputs = interpreter.get_output_details()
        for i, values in enumerate(self._entering(interpreter, images)):
            _run(interpreter, values)
            found[i] = np.concatenate([
                self._integers(interpreter.get_tensor(detail["index"]), port.tensor)
                for detail, port in zip(outputs, self._graph.results, strict=True)
            ])  # fmt: skip
        return found

    def _entering(
        self, interpreter: Any, images: npt.NDArray[np.uint8]
    ) -> Iterator[dict[int, npt.NDArray[Any]]]:
        """For each sample the file's inputs in its own types, by index."""
        details = interpreter.get_input_details()
        raw = ports.split(self._graph, images)
        for i in range(len(images)):
            yield {
                int(detail["index"]): self._entry(detail, port, raw[port.tensor][i])
                for detail, port in zip(details, self._graph.inputs, strict=True)
            }

    def _entry(self, detail: Any, port: Port, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A sample's part ``raw`` as the file's input."""
        if detail["dtype"] == np.uint8:
            return raw.reshape(detail["shape"])
        q = raw.astype(np.int64)
        if isinstance(self._graph.node[port.name], InputInt8):
            q = q - 128
        if detail["dtype"] == np.float32:
            tensor = self._graph.tensor[port.tensor]
            assert tensor.scale is not None
            real = (q - tensor.zero_point) * np.float64(tensor.scale)
            return real.astype(np.float32).reshape(detail["shape"])
        return q.astype(detail["dtype"]).reshape(detail["shape"])

    def _integers(self, value: npt.NDArray[Any], name: str) -> npt.NDArray[np.int32]:
        """The file's output as the integers of the Graph's tensor ``name``."""
        flat = value.reshape(-1)
        if flat.dtype == np.uint8:
            return flat.astype(np.int32) - 128
        if np.issubdtype(flat.dtype, np.integer):
            return flat.astype(np.int32)
        tensor = self._graph.tensor[name]
        assert tensor.scale is not None
        return (np.rint(flat / np.float64(tensor.scale)) + tensor.zero_point).astype(np.int32)


def _run(interpreter: Any, values: dict[int, npt.NDArray[Any]]) -> None:
    for index, value in values.items():
        interpreter.set_tensor(index, value)
    interpreter.invoke()


def _interpreter(tf: Any, data: bytes) -> Any:
    types = tf.lite.experimental.OpResolverType
    try:
        interpreter = _of(tf, data, types.BUILTIN_REF)
    except ValueError as error:
        if "Didn't find op" not in str(error):
            raise
        # There is no reference kernel of ELU: the one of all other builds, without delegates.
        interpreter = _of(tf, data, types.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    return interpreter


def _of(tf: Any, data: bytes, resolver: Any) -> Any:
    return tf.lite.Interpreter(
        model_content=data, experimental_op_resolver_type=resolver, num_threads=1
    )
