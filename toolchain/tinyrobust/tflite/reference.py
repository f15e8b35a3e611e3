"""TensorFlow Lite's own reference kernels, as the independent check of family ``tflite``.

In: a ``.tflite`` file and device inputs. Out: int32 scores as the Graph gives them. Needs
TensorFlow; imported late. ``BUILTIN_REF`` of TF 2.15.1 is the oracle: the default resolver brings
the XNNPACK delegate, which rounds differently.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import Graph


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
        self._interpreter = _interpreter(tf, data)
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

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
        for value in self._quantised(images).reshape(len(images), *self._input["shape"]):
            interpreter.set_tensor(self._input["index"], value)
            interpreter.invoke()
            for name, (index, shape) in wanted.items():
                q = interpreter.get_tensor(index)
                signed = q.astype(np.int32) - (128 if q.dtype == np.uint8 else 0)
                found[name].append(signed.reshape(shape))
        return {name: np.array(values) for name, values in found.items()}

    def scores(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
        """int32 (N, size) of uint8 (N, *input shape)."""
        values = self._quantised(images).reshape(len(images), *self._input["shape"])
        found = np.zeros((len(images), self._graph.output.size), np.int32)
        for i, value in enumerate(values):
            self._interpreter.set_tensor(self._input["index"], value)
            self._interpreter.invoke()
            found[i] = self._integers(self._interpreter.get_tensor(self._output["index"]))
        return found

    def _quantised(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """The images as the file's input type."""
        if self._input["dtype"] == np.uint8:
            return images
        q = images.astype(np.int16) - 128
        if self._input["dtype"] == np.int8:
            return q.astype(np.int8)
        tensor = self._graph.input
        assert tensor.scale is not None
        return ((q - tensor.zero_point) * np.float64(tensor.scale)).astype(np.float32)

    def _integers(self, value: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """The file's output as the int8 scores of the Graph."""
        flat = value.reshape(-1)
        if flat.dtype == np.uint8:
            return flat.astype(np.int32) - 128
        if flat.dtype == np.int8:
            return flat.astype(np.int32)
        tensor = self._graph.output
        assert tensor.scale is not None
        return (np.rint(flat / np.float64(tensor.scale)) + tensor.zero_point).astype(np.int32)


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
