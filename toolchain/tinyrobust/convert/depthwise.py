"""The scale of ternary depthwise kernels, which hls4ml leaves in the weights.

QKeras gives a QDepthwiseConv2D with ``alpha='auto'`` one scale (of the whole tensor). hls4ml 1.3
takes the scale out of convolutions and products only (``qkeras_factorize_alpha``); a depthwise
kernel keeps it, its weight type holds trits, and the simulation gives zeros without a word. The
pass here takes it out too, for every back end: weights become trits, and an ApplyAlpha layer,
which hls4ml fuses with the batch normalisation behind it, multiplies by the scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hls4ml.model.flow.flow import update_flow
from hls4ml.model.layers import ApplyAlpha
from hls4ml.model.optimizer import OptimizerPass, get_available_passes, register_pass

TERNARY = ("ternary", "stochastic_ternary")
NAME = "depthwise_factorize_alpha"


def register() -> None:
    """Put the pass into hls4ml's flow ``parse_qonnx``, which comes before all that need it."""
    if NAME not in get_available_passes():
        register_pass(NAME, DepthwiseFactorizeAlpha)
        update_flow("parse_qonnx", add_optimizers=[NAME])


class DepthwiseFactorizeAlpha(OptimizerPass):  # type: ignore[misc]
    """Trits and an ApplyAlpha layer instead of scaled ternary depthwise weights."""

    def match(self, node: Any) -> bool:
        """hls4ml: does the pass apply to ``node``?"""
        quantizer = node.get_attr("depthwise_quantizer")
        return (
            node.class_name in ("DepthwiseConv2D", "QDepthwiseConv2D")
            and getattr(quantizer, "alpha", None) not in (None, 1, 1.0)
            and type(getattr(quantizer, "quantizer_fn", None)).__name__ in TERNARY
        )  # fmt: skip

    def transform(self, model: Any, node: Any) -> bool:
        """hls4ml: apply the pass to ``node``; True when the graph changed."""
        weight = node.weights["weight"]
        trits, scale = factorize(weight.quantizer.quantizer_fn, weight.data_unquantized)
        weight.quantizer = None
        weight.data = trits
        node.set_attr("depthwise_quantizer", None)
        bias = node.weights["bias"].data
        node.weights["bias"].data = np.zeros_like(bias)
        name = f"{node.name}_alpha"
        model.config.set_name_config(name, {"Precision": "auto"})
        model.config.parse_name_config(name, {"Precision": "auto"})
        shape = node.get_output_variable().shape
        attributes = {
            "name": name, "class_name": "Alpha", "inputs": node.outputs,
            "n_in": int(np.prod(shape)), "n_filt": int(shape[-1]),
            "reuse_factor": node.get_attr("reuse_factor"), "scale_data": scale,
            "scale_quantizer": None, "bias_data": bias, "bias_quantizer": None,
            "trace": node.get_attr("trace", False),
        }  # fmt: skip
        model.insert_node(model.make_node(ApplyAlpha, name, attributes, node.outputs))
        return True


def factorize(quantizer: Any, weights: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Trits of depthwise ``weights`` (KH, KW, C, 1) and the scale of every channel (C,).

    ``quantizer`` is QKeras's own function; its scale may be one number, or one per channel.
    """
    import tensorflow as tf

    scaled = quantizer(tf.convert_to_tensor(weights)).numpy()
    scale = np.asarray(quantizer.scale, np.float64)
    full = np.broadcast_to(scale.reshape((1,) * (scaled.ndim - scale.ndim) + scale.shape),
                           scaled.shape)  # fmt: skip
    trits = np.divide(scaled, full, out=np.zeros_like(scaled), where=full != 0)
    return np.rint(trits), np.ascontiguousarray(full[0, 0].reshape(-1))


register()
