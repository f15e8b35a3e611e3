"""Small QONNX networks with random weights, as Brevitas writes them: NCHW, Quant nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

DOMAIN = "qonnx.custom_op.general"


class QonnxNet:
    """Nodes one after the other; ``seed`` fixes every weight. ``shape`` without the batch."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.shape, self.x, self.count = shape, "x", 0

    def constant(self, value: Any) -> str:
        from onnx import numpy_helper

        self.count += 1
        name = f"c{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        self.count += 1
        name = f"{op.lower()}{self.count}"
        self.nodes.append(
            helper.make_node(op, list(inputs), [name], name=name, domain=domain, **attributes)
        )
        self.x = name
        return name

    def quant(
        self, bits: int = 8, scale: float = 0.0117, x: str = "", signed: int = 0, narrow: int = 0,
        zero: float = 0.0, mode: str = "ROUND",
    ) -> str:  # fmt: skip
        numbers = [self.constant(np.float32(n)) for n in (scale, zero, bits)]
        return self.node("Quant", x or self.x, *numbers, domain=DOMAIN, signed=signed,
                         narrow=narrow, rounding_mode=mode)  # fmt: skip

    def weights(self, *shape: int, kind: str = "ternary") -> str:
        """Weights through their quantiser: ternary, channels (a scale each), binary, or bits."""
        before, wide = self.x, (shape[0],) + (1,) * (len(shape) - 1)
        w = self.constant(self.rng.normal(0, 0.15, shape).astype(np.float32))
        if kind == "binary":
            made = self.node("BipolarQuant", w, self.constant(np.float32(0.13)), domain=DOMAIN)
        elif kind == "channels":
            scale = self.rng.uniform(0.08, 0.2, wide).astype(np.float32)
            numbers = [self.constant(n) for n in (scale, np.float32(0), np.float32(2))]
            made = self.node("Quant", w, *numbers, domain=DOMAIN, signed=1, narrow=1,
                             rounding_mode="ROUND")  # fmt: skip
        else:
            bits = 2 if kind == "ternary" else int(kind)
            made = self.quant(bits, 0.14 if bits == 2 else 0.01, w, signed=1, narrow=1)
        self.x = before
        return made

    def conv(
        self, filters: int, channels: int, *kernel: int, kind: str = "ternary", bias: bool = False,
        group: int = 1, pads: int = 1, strides: int = 1, **more: Any,
    ) -> str:  # fmt: skip
        size = kernel or (3, 3)
        given = [self.weights(filters, channels // group, *size, kind=kind)]
        if bias:
            given.append(self.constant(self.rng.normal(0, 0.2, filters).astype(np.float32)))
        more.setdefault("dilations", [1] * len(size))
        return self.node("Conv", self.x, *given, kernel_shape=size, group=group,
                         pads=[pads] * 2 * len(size), strides=[strides] * len(size),
                         **more)  # fmt: skip

    def norm(self, channels: int) -> str:
        numbers = (
            self.rng.uniform(0.5, 1.5, channels) * self.rng.choice([1, 1, 1, -1], channels),
            self.rng.normal(0.2, 0.3, channels), self.rng.normal(0, 0.1, channels),
            self.rng.uniform(0.1, 0.6, channels),
        )  # fmt: skip
        given = [self.constant(n.astype(np.float32)) for n in numbers]
        return self.node("BatchNormalization", self.x, *given, epsilon=1e-5)

    def act(self, bits: int = 8, scale: float = 0.0117) -> str:
        self.node("Relu", self.x)
        return self.quant(bits, scale)

    def flatten(self) -> str:
        return self.node("Flatten", self.x, axis=1)

    def dense(self, units: int, features: int, kind: str = "ternary", bias: bool = True) -> str:
        given = [self.weights(units, features, kind=kind)]
        if bias:
            given.append(self.constant(self.rng.normal(0, 0.2, units).astype(np.float32)))
        return self.node("Gemm", self.x, *given, transB=1)

    def model(self, classes: int = 4) -> Any:
        from onnx import TensorProto, helper

        float32 = TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes, "net",
            [helper.make_tensor_value_info("x", float32, [1, *self.shape])],
            [helper.make_tensor_value_info(self.x, float32, [1, classes])],
            self.constants,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def save(self, path: Path, classes: int = 4) -> Path:
        path.write_bytes(self.model(classes).SerializeToString())
        return path


def residual_net(kind: str = "ternary", seed: int = 0, *, average: bool = True) -> QonnxNet:
    """10x8x3: residual addition, depthwise with stride and bias, maximum and average, flatten."""
    net = QonnxNet((3, 10, 8), seed)
    net.quant(7, 1 / 128)
    net.conv(6, 3, kind=kind)
    net.norm(6)
    first = net.act()
    net.conv(6, 6, 3, 3, kind=kind, bias=True)
    long = net.norm(6)
    net.node("Add", long, first)
    net.act(7, 0.021)
    net.node("MaxPool", net.x, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
    net.conv(6, 6, group=6, kind=kind, bias=True)
    net.act(4, 0.14)
    if average:  # qonnx leaves it channels first
        net.node("AveragePool", net.x, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
        net.quant(6, 0.037)
    net.flatten()
    net.dense(4, 24 if average else 120, kind=kind)
    net.norm(4)
    return net


def mean_net(seed: int = 0) -> QonnxNet:
    """9x7x2 and a global mean that keeps its scale; a ReLU and a maximum before their Quant."""
    net = QonnxNet((2, 9, 7), seed)
    net.quant(8, 1 / 255)
    net.conv(5, 2, 4, 3, pads=0)
    net.norm(5)
    net.node("Relu", net.x)
    net.node("MaxPool", net.x, kernel_shape=[2, 1], strides=[2, 1], pads=[0] * 4)
    net.quant(5, 0.09)
    net.node("GlobalAveragePool", net.x)
    net.quant(5, 0.09)
    net.flatten()
    net.dense(4, 5, bias=False)
    return net


def line_net(seed: int = 0) -> QonnxNet:
    """One dimension: 3 channels of 24 steps."""
    net = QonnxNet((3, 24), seed)
    net.quant(8, 0.0041)
    net.conv(6, 3, 5, pads=2, strides=2)
    net.norm(6)
    net.act()
    net.conv(4, 6, 3, pads=0, kind="channels")
    net.node("Mul", net.x, net.constant(np.linspace(0.5, 2, 4, dtype=np.float32).reshape(4, 1)))
    net.act(8, 0.02)
    net.flatten()
    net.dense(4, 40)
    return net


def vector_net(seed: int = 0) -> QonnxNet:
    """Features in, two dense layers, the first with MatMul and Add."""
    net = QonnxNet((20,), seed)
    net.quant(8, 1 / 128)
    w = net.weights(9, 20, kind="channels")
    x = net.x
    across = net.node("Transpose", w, perm=[1, 0])
    net.node("MatMul", x, across)
    net.node("Add", net.x, net.constant(net.rng.normal(0, 0.3, 9).astype(np.float32)))
    net.act(7, 0.013)
    net.dense(4, 9)
    return net
