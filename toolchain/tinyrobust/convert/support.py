"""What the converter takes, checked on the Keras model before hls4ml sees it.

In: a Keras model. Out: nothing, or ConvertError naming the layer, the reason and what would do.
"""

from __future__ import annotations

from typing import Any

from tinyrobust.errors import ConvertError

LAYERS = (
    "InputLayer", "QConv2D", "QDepthwiseConv2D", "QDense", "BatchNormalization", "QActivation",
    "Add", "GlobalAveragePooling2D", "AveragePooling2D", "MaxPooling2D", "Flatten", "Dropout",
)  # fmt: skip
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
        config = layer.get_config()
        if config.get("data_format", "channels_last") != "channels_last":
            raise ConvertError(f"layer '{layer.name}' has channels first", "use channels_last")
        if kind in ("QConv2D", "QDepthwiseConv2D", "QDense"):
            _check_kernel(layer, config)
        elif kind == "QActivation":
            _check_activation(layer)
        elif kind in ("MaxPooling2D", "AveragePooling2D"):
            _check_pool(layer, config)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.inputs[0].shape) != 4:
        raise ConvertError("the model must have one image input and one output", _STYLE)


def _check_kernel(layer: Any, config: dict[str, Any]) -> None:
    depthwise = type(layer).__name__ == "QDepthwiseConv2D"
    quantizer = layer.depthwise_quantizer_internal if depthwise else layer.kernel_quantizer_internal
    kind = type(quantizer).__name__ if quantizer is not None else "no quantiser"
    if kind not in QUANTIZERS:
        raise ConvertError(f"layer '{layer.name}' has weights of {kind}, need ternary", _STYLE)
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
    if quantizer.negative_slope or quantizer.use_sigmoid or quantizer.relu_upper_bound is not None:
        raise ConvertError(
            f"activation '{layer.name}' has a slope, a sigmoid or an upper bound of its own",
            "use quantized_relu(bits, integer) without further arguments",
        )
    if not 1 <= quantizer.bits <= 8:
        raise ConvertError(f"activation '{layer.name}' has {quantizer.bits} bits", "use 1 to 8")


def _check_pool(layer: Any, config: dict[str, Any]) -> None:
    if config["padding"] != "valid" or tuple(config["pool_size"]) != tuple(config["strides"]):
        raise ConvertError(
            f"pooling '{layer.name}' is padded or its windows overlap",
            "use padding='valid' and strides equal to pool_size",
        )
