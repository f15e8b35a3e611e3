"""Whole int8 models by the pinned TensorFlow converter, random weights: the architectures of MLPerf
Tiny that are not at hand as files, and one network of many operators.

In: a name. Out: ``.tflite`` bytes. Needs TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def autoencoder() -> Any:
    """Anomaly detection: ten dense layers, 640 to 8 and back."""
    from keras import layers, models

    x = inputs = layers.Input((640,))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(units)(x)))
    return models.Model(inputs, layers.Dense(640)(x))


def mobilenet() -> Any:
    """Visual wake words: MobileNet v1, width 0.25, 96x96."""
    from keras import layers, models

    def block(x: Any, filters: int, stride: int) -> Any:
        x = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization()(x))

    inputs = layers.Input((96, 96, 3))
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for filters, stride in zip(
        (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256),
        (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1),
        strict=True,
    ):
        x = block(x, filters, stride)
    x = layers.Flatten()(layers.AveragePooling2D(3)(x))
    return models.Model(inputs, layers.Dense(2, activation="softmax")(x))


def wakeword() -> Any:
    """Streaming wake word: depthwise along time, VALID, then 1x1."""
    from keras import layers, models

    x = inputs = layers.Input((30, 1, 40))
    for taps, filters, stride in ((3, 128, 1), (5, 128, 1), (10, 128, 1), (15, 32, 1)):
        x = layers.DepthwiseConv2D((taps, 1), stride, padding="valid")(x)
        x = layers.Conv2D(filters, 1)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Flatten()(x)
    return models.Model(inputs, layers.Dense(3, activation="softmax")(x))


def many() -> Any:
    """Most of the operators between one input and one output."""
    import tensorflow as tf
    from keras import layers, models

    inputs = layers.Input((24, 20, 3), batch_size=1)
    x = layers.ZeroPadding2D(((1, 2), (2, 1)))(inputs)
    x = tf.nn.relu6(layers.Conv2D(16, 3, 2, padding="valid")(x))
    y = layers.Conv2D(16, 3, dilation_rate=2, padding="same")(x)
    x = tf.nn.leaky_relu(layers.add([x, y]), 0.1)
    gate = tf.reduce_mean(x, axis=[1, 2], keepdims=True)
    gate = tf.sigmoid(layers.Conv2D(16, 1)(tf.nn.relu(layers.Conv2D(4, 1)(gate))))
    x = layers.multiply([x, gate])
    y = layers.MaxPooling2D(2, padding="same")(x)
    y = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(y)
    y = tf.tanh(y)
    y = layers.UpSampling2D(2, interpolation="nearest")(y)[:, : x.shape[1], : x.shape[2], :]
    x = layers.concatenate([x, y])
    a, b, c = tf.split(x, 3, axis=-1)
    x = tf.maximum(tf.minimum(a, b), c) - 0.25 * a
    x = x * tf.nn.relu6(x + 3.0) * (1 / 6)
    x = layers.AveragePooling2D(3, 2, padding="same")(x)[..., ::2]
    x = layers.Flatten()(x)
    return models.Model(inputs, layers.Dense(7, activation="softmax")(x))


def hard_swish() -> Any:
    """MobileNet v3's activation, which the converter fuses to HARD_SWISH."""
    import tensorflow as tf
    from keras import layers, models

    inputs = layers.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, 2, padding="same")(inputs)
    x = x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)
    x = layers.DepthwiseConv2D(5, padding="same")(x)
    x = x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)
    x = layers.GlobalAveragePooling2D()(x)
    return models.Model(inputs, layers.Dense(5)(x))


def open_batch() -> Any:
    """What the converter makes of reshapes, products over the last axis and dilation when the
    batch is open: arithmetic on shapes, and batches for dilation."""
    import tensorflow as tf
    from keras import layers, models

    inputs = layers.Input((12, 10, 3))
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu")(inputs)
    x = layers.Reshape((6, 5, 6))(layers.Dense(6)(layers.Reshape((30, 8))(x)))
    x = layers.Conv2D(4, 3, dilation_rate=2, padding="same")(layers.UpSampling2D(2)(x))
    x = layers.DepthwiseConv2D(3, dilation_rate=3, padding="same")(x)
    a, b = tf.split(x[:, 1:-1, ::2, :], 2, axis=-1)
    x = layers.GlobalAveragePooling2D()(layers.concatenate([a, b * b]))
    return models.Model(inputs, layers.Dense(5, activation="softmax")(x))


MODELS: Mapping[str, Callable[[], Any]] = {
    "autoencoder": autoencoder,
    "mobilenet": mobilenet,
    "wakeword": wakeword,
    "many": many,
    "hard_swish": hard_swish,
    "open_batch": open_batch,
}


def convert(name: str, edge: str = "int8", seed: int = 0) -> bytes:
    """The int8 model ``name``, its input and output of type ``edge`` (int8, uint8, float32)."""
    import keras
    import tensorflow as tf

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = MODELS[name]()
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            n = layer.get_weights()[0].size
            layer.set_weights([rng.uniform(0.5, 1.5, n), rng.normal(0, 0.3, n),
                               rng.normal(0, 0.3, n), rng.uniform(0.5, 1.5, n)])  # fmt: skip
    shape = model.inputs[0].shape[1:]
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [rng.uniform(-1, 1, (1, *shape)).astype(np.float32)] for _ in range(8)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    kind = getattr(tf, edge)
    converter.inference_input_type = converter.inference_output_type = kind
    return bytes(converter.convert())
