"""What the converter takes, checked on the Keras model before hls4ml sees it.

In: a Keras model. Out: nothing, or ConvertError naming the layer, the reason and what would do.
"""

from __future__ import annotations

from typing import Any

from tinyrobust.convert.arguments import LAYERS, check_layer, check_quantizer
from tinyrobust.errors import ConvertError

QUANTIZERS = ("ternary", "stochastic_ternary")
_STYLE = (
    "use QConv2D, QDepthwiseConv2D or QDense with ternary weights and without bias, then "
    "BatchNormalization, then QActivation(quantized_relu(bits, integer))"
)


def check_keras(model: Any) -> None:
    """Raise ConvertError at the first layer that ``CortexM`` cannot convert."""
    for layer in model.layers:
        kind = type(layer).__name__
        if kind not in LAYERS:
            raise ConvertError(
                f"layer '{layer.name}' is a {kind}, which cannot be converted",
                f"supported layers: {', '.join(LAYERS)}",
            )
        if layer.name == "input":
            raise ConvertError("hls4ml reserves the layer name 'input'", "rename that layer")
        check_layer(layer)
        config = layer.get_config()
        if kind in ("QConv2D", "QDepthwiseConv2D", "QDense"):
            _check_kernel(layer, config)
        elif kind == "QActivation":
            _check_activation(layer)
        elif kind == "BatchNormalization":
            _check_axis(layer)
        elif kind in ("MaxPooling2D", "AveragePooling2D"):
            _check_pool(layer, config)
    _check_shared(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.inputs[0].shape) != 4:
        raise ConvertError("the model must have one image input and one output", _STYLE)


def _check_kernel(layer: Any, config: dict[str, Any]) -> None:
    depthwise = type(layer).__name__ == "QDepthwiseConv2D"
    quantizer = layer.depthwise_quantizer_internal if depthwise else layer.kernel_quantizer_internal
    kind = type(quantizer).__name__ if quantizer is not None else "no quantiser"
    if kind not in QUANTIZERS:
        raise ConvertError(f"layer '{layer.name}' has weights of {kind}, need ternary", _STYLE)
    check_quantizer(layer, quantizer)
    if not isinstance(quantizer.alpha, str | int | float | None):
        raise ConvertError(
            f"layer '{layer.name}' has alpha={type(quantizer.alpha).__name__}",
            "use alpha='auto', 'auto_po2' or a number",
        )
    if config.get("use_bias"):
        raise ConvertError(f"layer '{layer.name}' has a bias", _STYLE)
    if tuple(config.get("dilation_rate", (1, 1))) != (1, 1) or config.get("groups", 1) != 1:
        raise ConvertError(
            f"layer '{layer.name}' is a dilated or grouped convolution, which cannot be converted",
            "use dilation_rate=1 and groups=1",
        )
    if config.get("depth_multiplier", 1) != 1:
        raise ConvertError(
            f"layer '{layer.name}' has depth_multiplier {config['depth_multiplier']}",
            "use depth_multiplier=1",
        )
    if config.get("activation") not in (None, "linear"):
        raise ConvertError(f"layer '{layer.name}' has an activation of its own", _STYLE)


def _check_activation(layer: Any) -> None:
    quantizer = layer.quantizer
    kind = type(quantizer).__name__
    if kind != "quantized_relu":
        raise ConvertError(
            f"activation '{layer.name}' is {kind}, which cannot be converted", _STYLE
        )
    check_quantizer(layer, quantizer)
    bits, integer = quantizer.bits, quantizer.integer
    if not isinstance(bits, int) or not 1 <= bits <= 8:
        raise ConvertError(f"activation '{layer.name}' has {bits} bits", "use 1 to 8")
    if int(integer) != float(integer):
        raise ConvertError(
            f"activation '{layer.name}' has integer={float(integer)}", "use a whole number"
        )


def _check_axis(layer: Any) -> None:
    """hls4ml takes the last axis whatever ``axis`` says, which only the sizes may betray."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    last = len(layer.input_shape) - 1
    if [int(a) % (last + 1) for a in axes] != [last]:
        raise ConvertError(
            f"batch normalisation '{layer.name}' has axis={axes[0] if len(axes) == 1 else axes}, "
            f"the channels are axis {last}", "use axis=-1",
        )  # fmt: skip


def _check_shared(model: Any) -> None:
    """A layer that is called twice is one layer to hls4ml."""
    for layer in model.get_config()["layers"]:
        if len(layer.get("inbound_nodes", ())) > 1:
            raise ConvertError(
                f"layer '{layer['config']['name']}' is called {len(layer['inbound_nodes'])} times",
                "use one layer for each call",
            )


def _check_pool(layer: Any, config: dict[str, Any]) -> None:
    if config["padding"] != "valid" or tuple(config["pool_size"]) != tuple(config["strides"]):
        raise ConvertError(
            f"pooling '{layer.name}' is padded or its windows overlap",
            "use padding='valid' and strides equal to pool_size",
        )
