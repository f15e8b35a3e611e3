"""A QKeras model as plain Keras layers that carry the quantised weights, for TensorFlow Lite.

In: a frozen QKeras model (its kernels are the quantised weights). Out: a Keras model of Conv2D,
DepthwiseConv2D, Dense, ReLU and friends with the same function. Exporting QKeras layers directly
leaves the quantisers' operations in the file, twice its size.

Batch norms are folded into kernels and biases, so that a ternary kernel stays -s, 0, +s per
channel, which int8 holds exactly. A ``quantized_relu`` saturates at its largest code; only
``relu6`` fuses into TensorFlow Lite's operators (another ``max_value`` becomes MINIMUM and RELU).
So a tensor is stored times 6 / saturation, its layer's weights scaled to give that and the next
layer's to take it. The rounding of the activation is left to TensorFlow Lite's own int8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import ConvertError

Float = npt.NDArray[np.float32]
_SIX = 6.0
_KERNELS = ("QConv2D", "QDense", "QDepthwiseConv2D")
_PASSED = ("GlobalAveragePooling2D", "AveragePooling2D", "MaxPooling2D", "Flatten")


def plain_model(model: Any) -> Any:
    """``model`` in plain layers; takes and gives the same as ``model``.

    Raises ConvertError naming a layer that there is no plain form of.
    """
    return _Plain(model).build()


def saturation(layer: Any) -> float | None:
    """The largest output of a QActivation; None for a plain ReLU."""
    if type(layer).__name__ == "ReLU":
        limit = layer.get_config().get("max_value")
        return None if limit is None else float(limit)
    quantizer = layer.quantizer
    if type(quantizer).__name__ != "quantized_relu" or quantizer.negative_slope:
        raise ConvertError(
            f"layer '{layer.name}' is {quantizer}, which has no plain form", "use quantized_relu"
        )
    return float(2.0**quantizer.integer - 2.0 ** (quantizer.integer - quantizer.bits))


@dataclass
class _Value:
    """A tensor of the plain model: ``stored = factor * real``; ``most``: its largest real value."""

    tensor: Any
    factor: float
    most: float | None = None


@dataclass
class _Plain:
    model: Any
    values: dict[str, _Value] = field(default_factory=dict)
    folded: dict[str, Any] = field(default_factory=dict)  # a kernel layer before its batch norm

    def build(self) -> Any:
        """Walk the layers in their own order."""
        from tinyrobust.train.layers import keras

        inputs = None
        for layer in self.model.layers:
            kind = type(layer).__name__
            if kind == "InputLayer":
                inputs = keras.Input(self.model.input_shape[1:], batch_size=1, name=layer.name)
                self.values[layer.name] = _Value(inputs, 1.0)
            elif kind == "Dropout":
                self.values[layer.name] = self.values[self._sources(layer)[0].name]
            elif kind in _KERNELS:
                self._kernel(layer)
            elif kind == "BatchNormalization":
                self._batch_norm(layer)
            elif kind in ("QActivation", "ReLU"):
                self._activation(layer)
            elif kind == "Add":
                self._add(layer)
            elif kind in _PASSED:
                self._pass(layer)
            else:
                raise ConvertError(
                    f"layer '{layer.name}' is a {kind}, which has no plain form",
                    f"supported: {', '.join((*_KERNELS, *_PASSED))}, Add, QActivation, ReLU, "
                    "BatchNormalization, Dropout",
                )
        last = self.values[self.model.output_names[0]]
        return keras.Model(inputs, last.tensor, name=f"{self.model.name}_plain")

    def _sources(self, layer: Any) -> list[Any]:
        found = layer.inbound_nodes[0].inbound_layers
        return found if isinstance(found, list) else [found]

    def _readers(self, layer: Any) -> list[Any]:
        return [node.outbound_layer for node in layer.outbound_nodes]

    def _wanted(self, layer: Any) -> float:
        """The factor in which what follows wants ``layer``: 6 / saturation before one."""
        for reader in self._readers(layer):
            kind = type(reader).__name__
            if kind in ("QActivation", "ReLU"):
                limit = saturation(reader)
                return 1.0 if limit is None else _SIX / limit
            if kind in ("Add", "BatchNormalization", "Dropout"):
                return self._wanted(reader)
        return 1.0

    def _kernel(self, layer: Any) -> None:
        readers = self._readers(layer)
        if len(readers) == 1 and type(readers[0]).__name__ == "BatchNormalization":
            self.folded[readers[0].name] = layer
            return
        kernel, bias = _weights(layer)
        self._emit(layer, layer, kernel, bias)

    def _batch_norm(self, layer: Any) -> None:
        kernel_layer = self.folded.get(layer.name)
        if kernel_layer is None:
            raise ConvertError(
                f"batch norm '{layer.name}' does not follow a layer with weights",
                "put it behind a convolution or dense layer",
            )
        kernel, bias = _weights(kernel_layer)
        gain = layer.gamma.numpy() / np.sqrt(layer.moving_variance.numpy() + layer.epsilon)
        shift = layer.beta.numpy() + (bias - layer.moving_mean.numpy()) * gain
        shape = kernel.shape[2:] if type(kernel_layer).__name__ == "QDepthwiseConv2D" else (-1,)
        self._emit(layer, kernel_layer, kernel * gain.reshape(shape), shift)

    def _emit(self, layer: Any, kernel_layer: Any, kernel: Any, bias: Any) -> None:
        """The plain form of ``kernel_layer`` as the value of ``layer``."""
        from tinyrobust.train.layers import keras

        source = self.values[self._sources(kernel_layer)[0].name]
        factor = self._wanted(layer)
        config = kernel_layer.get_config()
        kind = type(kernel_layer).__name__
        name = kernel_layer.name
        if kind == "QDense":
            plain = keras.layers.Dense(config["units"], name=name)
        else:
            keep = {k: config[k] for k in ("kernel_size", "strides", "padding", "dilation_rate")}
            if kind == "QConv2D":
                plain = keras.layers.Conv2D(config["filters"], **keep, name=name)
            else:
                many = config["depth_multiplier"]
                plain = keras.layers.DepthwiseConv2D(depth_multiplier=many, **keep, name=name)
        tensor = plain(source.tensor)
        plain.set_weights([kernel * (factor / source.factor), bias * factor])
        self.values[layer.name] = _Value(tensor, factor)

    def _scaled(self, value: _Value, factor: float, name: str) -> Any:
        """The tensor of ``value`` stored by another factor."""
        from tinyrobust.train.layers import keras

        if np.isclose(value.factor, factor, rtol=1e-9):
            return value.tensor
        return keras.layers.Rescaling(factor / value.factor, name=name)(value.tensor)

    def _activation(self, layer: Any) -> None:
        from tinyrobust.train.layers import keras

        value, limit = self.values[self._sources(layer)[0].name], saturation(layer)
        if value.most is not None and (limit is None or value.most <= limit):
            self.values[layer.name] = value  # an average of what is within the limits already
            return
        factor = value.factor if limit is None else _SIX / limit
        tensor = self._scaled(value, factor, f"{layer.name}_scale")
        relu = keras.layers.ReLU(None if limit is None else _SIX, name=layer.name)
        self.values[layer.name] = _Value(relu(tensor), factor, limit)

    def _add(self, layer: Any) -> None:
        from tinyrobust.train.layers import keras

        factor = self._wanted(layer)
        parts = [
            self._scaled(self.values[source.name], factor, f"{layer.name}_scale{i}")
            for i, source in enumerate(self._sources(layer))
        ]
        self.values[layer.name] = _Value(keras.layers.Add(name=layer.name)(parts), factor)

    def _pass(self, layer: Any) -> None:
        value = self.values[self._sources(layer)[0].name]
        copy = type(layer).from_config(layer.get_config())
        self.values[layer.name] = _Value(copy(value.tensor), value.factor, value.most)


def _weights(layer: Any) -> tuple[Float, Float]:
    """The quantised kernel and the bias of a frozen QKeras layer."""
    from tinyrobust.train.quantizers import latent

    kernel = latent(layer).numpy()
    channels = kernel.shape[-1]
    if type(layer).__name__ == "QDepthwiseConv2D":
        channels *= kernel.shape[-2]
    bias = layer.bias.numpy() if layer.use_bias else np.zeros(channels, np.float32)
    return kernel, bias
