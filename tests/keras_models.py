"""Small QKeras models with random weights, in the style that the converter takes."""

from __future__ import annotations

from typing import Any

import numpy as np


def keras() -> Any:
    """TensorFlow's Keras, imported late: only tests marked ``train`` may call this."""
    from tinyrobust.train.layers import keras as found

    return found


class Net:
    """Layers one after the other; ``seed`` fixes every weight."""

    def __init__(self, shape: tuple[int, int, int], seed: int = 0) -> None:
        keras().utils.set_random_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.inputs = self.x = keras().Input(shape, name="image")

    def conv(
        self, name: str, filters: int, kernel: Any = 3, source: Any = None, **more: Any
    ) -> Any:
        from qkeras import QConv2D, ternary

        options = {"padding": "same", "use_bias": False} | more
        options.setdefault("kernel_quantizer", ternary(alpha="auto"))
        source = self.x if source is None else source
        self.x = QConv2D(filters, kernel, name=name, **options)(source)
        return self.x

    def depthwise(self, name: str, kernel: Any = 3, **more: Any) -> Any:
        from qkeras import QDepthwiseConv2D, ternary

        options = {"padding": "same", "use_bias": False} | more
        options.setdefault("depthwise_quantizer", ternary(alpha="auto"))
        self.x = QDepthwiseConv2D(kernel, name=name, **options)(self.x)
        return self.x

    def dense(self, name: str, units: int) -> Any:
        from qkeras import QDense, ternary

        self.x = QDense(units, use_bias=False, kernel_quantizer=ternary(alpha="auto"), name=name)(
            self.x
        )
        return self.x

    def norm(self, name: str) -> Any:
        self.x = keras().layers.BatchNormalization(name=name)(self.x)
        return self.x

    def act(self, name: str, bits: int = 7, integer: int = 2) -> Any:
        from qkeras import QActivation, quantized_relu

        self.x = QActivation(quantized_relu(bits, integer), name=name)(self.x)
        return self.x

    def add(self, name: str, a: Any, b: Any) -> Any:
        self.x = keras().layers.Add(name=name)([a, b])
        return self.x

    def layer(self, kind: str, **options: Any) -> Any:
        self.x = getattr(keras().layers, kind)(**options)(self.x)
        return self.x

    def model(self) -> Any:
        model = keras().Model(self.inputs, self.x, name="net")
        for layer in model.layers:
            if isinstance(layer, keras().layers.BatchNormalization):
                n = layer.gamma.shape[0]
                sign = self.rng.choice([1, 1, 1, -1], n)
                layer.set_weights([
                    self.rng.uniform(0.3, 1.5, n) * sign, self.rng.normal(0.5, 0.5, n),
                    self.rng.normal(0, 0.1, n), self.rng.uniform(0.05, 0.4, n),
                ])  # fmt: skip
        return model

    def head(self, classes: int = 10) -> Any:
        self.layer("GlobalAveragePooling2D", name="pool")
        self.act("pool_act")
        self.dense("dense", classes)
        self.norm("dense_bn")
        return self.model()


def residual_net(seed: int = 0) -> Any:
    """8x8x3: a convolution, a residual with the block's input, one with a strided shortcut."""
    net = Net((8, 8, 3), seed)
    net.conv("conv1", 8)
    net.norm("conv1_bn")
    first = net.act("conv1_act")
    net.conv("res2_conv1", 8)
    net.norm("res2_conv1_bn")
    net.act("res2_conv1_act")
    net.conv("res2_conv2", 8)
    net.add("res2_add", net.norm("res2_conv2_bn"), first)
    second = net.act("res2_act")
    net.conv("res3_conv1", 12, strides=2)
    net.norm("res3_conv1_bn")
    net.act("res3_conv1_act")
    net.conv("res3_conv2", 12)
    long = net.norm("res3_conv2_bn")
    net.conv("res3_shortcut", 12, 1, second, strides=2)
    net.add("res3_add", long, net.norm("res3_shortcut_bn"))
    net.act("res3_act")
    return net.head()


def odd_net(seed: int = 0) -> Any:
    """9x7x2: 8-bit and 4-bit activations, valid padding, pooling, flatten, a dead channel."""
    net = Net((9, 7, 2), seed)
    net.conv("conv1", 5, (5, 3), padding="valid")
    net.norm("conv1_bn")
    net.act("conv1_act", 8, 3)
    net.layer("MaxPooling2D", pool_size=(2, 2), name="max")
    net.conv("conv2", 6, (2, 3), strides=(2, 1))
    net.norm("conv2_bn")
    net.act("conv2_act", 4, 1)
    net.layer("Flatten", name="flat")
    net.dense("hidden", 9)
    net.norm("hidden_bn")
    net.act("hidden_act", 7, 0)
    net.dense("dense", 3)
    net.norm("dense_bn")
    model = net.model()
    kernel = model.get_layer("conv1").kernel
    value = kernel.numpy()
    value[..., 2] = 0.0
    kernel.assign(value)
    return model


def coarse_head_net(seed: int = 0) -> Any:
    """A mean over 15 pixels whose activation has fewer bits than what it averages."""
    net = Net((5, 3, 3), seed)
    net.conv("conv1", 7)
    net.norm("conv1_bn")
    net.act("conv1_act")
    net.layer("GlobalAveragePooling2D", name="pool")
    net.act("pool_act", 4, 2)
    net.dense("dense", 4)
    net.norm("dense_bn")
    return net.model()


def separable_net(seed: int = 0) -> Any:
    """9x8x2: depthwise and 1x1 convolutions, one depthwise with stride 2, average pooling."""
    net = Net((9, 8, 2), seed)
    net.conv("conv1", 6, (4, 3))
    net.norm("conv1_bn")
    net.act("conv1_act")
    net.depthwise("dw1")
    net.norm("dw1_bn")
    net.act("dw1_act")
    net.conv("pw1", 10, 1)
    net.norm("pw1_bn")
    net.act("pw1_act")
    net.layer("AveragePooling2D", pool_size=(2, 2), name="mean")
    net.act("mean_act")
    net.depthwise("dw2", (2, 3), strides=2)
    net.norm("dw2_bn")
    net.act("dw2_act", 4, 2)
    net.layer("Flatten", name="flat")
    net.dense("dense", 4)
    net.norm("dense_bn")
    return net.model()
