"""Every argument of every layer and quantiser that the converter takes, and what becomes of it.

In: a layer or quantiser. Out: nothing, or ConvertError naming it and the argument. An argument is
``honoured`` (it is in the Graph, or ``support`` looks at it), has ``no_effect`` on inference, or
converts with the values of ``only`` alone. One that is not listed, as a new version of Keras or
QKeras may bring, is refused by name where a layer's configuration holds it; a test compares the
lists with the constructors' signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tinyrobust.errors import ConvertError

LIBRARIES = ("keras", "tf_keras", "qkeras", "tensorflow")


@dataclass(frozen=True)
class Arguments:
    """Arguments by what becomes of them; see the module."""

    honoured: tuple[str, ...] = ()
    no_effect: tuple[str, ...] = ()
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def known(self) -> frozenset[str]:
        """Every argument."""
        return frozenset((*self.honoured, *self.no_effect, *self.only))


def _trained(*weights: str) -> tuple[str, ...]:
    """How ``weights`` start and are held while they are trained."""
    kinds = ("initializer", "regularizer", "constraint")
    return tuple(f"{weight}_{kind}" for weight in weights for kind in kinds)


# Of every layer: Layer.__init__, its keywords, and what Keras keeps of them in a configuration.
BASE = Arguments(
    ("name",),
    ("trainable", "activity_regularizer", "weights", "batch_input_shape", "input_shape",
     "input_dim", "batch_size", "autocast", "implementation"),
    {"dtype": ("float32",), "dynamic": (False,)},
)  # fmt: skip
_CONV = (
    "kernel_size", "strides", "padding", "dilation_rate", "groups", "activation", "use_bias",
    "rank",
)  # fmt: skip
_LAST = {"data_format": ("channels_last",)}
# QKeras takes ranges, warns, and computes nothing with them; a bias quantiser needs a bias.
_BIAS = ("bias_quantizer", "bias_range")
_POOL = Arguments(("pool_size", "strides", "padding"), ("pool_function",), _LAST)

LAYERS: dict[str, Arguments] = {
    "InputLayer": Arguments(
        ("input_shape", "batch_input_shape"),
        ("batch_size", "input_tensor", "type_spec"),
        {"sparse": (False, None), "ragged": (False, None), "optional": (False,)},
    ),
    "QConv2D": Arguments(
        (*_CONV, "filters", "kernel_quantizer"),
        (*_trained("kernel", "bias"), *_BIAS, "kernel_range"),
        _LAST | {"conv_op": (None,)},
    ),
    "QDepthwiseConv2D": Arguments(
        (*_CONV, "depth_multiplier", "depthwise_quantizer"),
        (*_trained("depthwise", "kernel", "bias"), *_BIAS, "depthwise_range", "filters"),
        _LAST | {"conv_op": (None,)},
    ),
    "QDense": Arguments(
        ("units", "activation", "use_bias", "kernel_quantizer"),
        (*_trained("kernel", "bias"), *_BIAS, "kernel_range"),
    ),
    "BatchNormalization": Arguments(
        ("axis", "epsilon", "center", "scale"),
        ("momentum", "beta_initializer", "beta_regularizer", "beta_constraint", "gamma_initializer",
         "gamma_regularizer", "gamma_constraint", "moving_mean_initializer",
         "moving_variance_initializer", "synchronized", "fused", "renorm_clipping",
         "renorm_momentum"),
        {"renorm": (False,), "virtual_batch_size": (None,), "adjustment": (None,)},
    ),
    "QActivation": Arguments(("activation",)),
    "Add": Arguments(),
    "GlobalAveragePooling2D": Arguments(only=_LAST | {"keepdims": (False,)}),
    "AveragePooling2D": _POOL,
    "MaxPooling2D": _POOL,
    "Flatten": Arguments(only=_LAST),
    "Dropout": Arguments((), ("rate", "noise_shape", "seed", "force_generator", "rng_type")),
}  # fmt: skip
_TERNARY = ("alpha", "threshold", "number_of_unrolls")
QUANTIZERS: dict[str, Arguments] = {
    "ternary": Arguments(_TERNARY, (), {"use_stochastic_rounding": (False,)}),
    "stochastic_ternary": Arguments(
        _TERNARY, ("temperature", "use_real_sigmoid"), {"use_stochastic_rounding": (False,)}
    ),
    # is_quantized_clip and use_ste change the gradient only, as long as the others are these.
    "quantized_relu": Arguments(
        ("bits", "integer"),
        ("is_quantized_clip", "use_ste", "use_variables", "var_name"),
        {"use_sigmoid": (False,), "negative_slope": (0.0,), "use_stochastic_rounding": (False,),
         "relu_upper_bound": (None,), "qnoise_factor": (1.0,)},
    ),
}  # fmt: skip


def check_layer(layer: Any) -> None:
    """Raise ConvertError when ``layer`` has an argument that would be lost.

    ``layer`` is of a kind in LAYERS; see ``support``.
    """
    kind = type(layer).__name__
    _check(f"layer '{layer.name}'", kind, layer, LAYERS[kind], BASE)


def check_quantizer(layer: Any, quantizer: Any) -> None:
    """Raise ConvertError when ``quantizer`` of ``layer`` has an argument that would be lost.

    ``quantizer`` is of a kind in QUANTIZERS.
    """
    kind = type(quantizer).__name__
    _check(f"layer '{layer.name}', {kind}:", kind, quantizer, QUANTIZERS[kind], Arguments())


def _check(where: str, kind: str, thing: Any, mine: Arguments, base: Arguments) -> None:
    home = type(thing).__module__
    if home.split(".")[0] not in LIBRARIES:
        raise ConvertError(
            f"{where} is a {kind} of {home}, whose arithmetic is not known",
            "use the class of Keras or QKeras",
        )
    config = thing.get_config()
    known = mine.known | base.known
    for name in config:
        if name not in known:
            raise ConvertError(
                f"{where} has the argument {name}={config[name]!r} of {kind}, which this version "
                "of tinyrobust does not know", "install the library versions of tinyrobust[train]",
            )  # fmt: skip
    for name, allowed in {**base.only, **mine.only}.items():
        value = _plain(config.get(name, getattr(thing, name, allowed[0])))
        if not any(value is a or value == a for a in allowed):
            raise ConvertError(
                f"{where} has {name}={value!r}, which cannot be converted",
                f"use {name}={allowed[0]!r}",
            )


def _plain(value: Any) -> Any:
    """A number that is kept in a variable, as a number."""
    return value.numpy().item() if hasattr(value, "numpy") else value
