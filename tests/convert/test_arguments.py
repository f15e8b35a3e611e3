"""No argument of a layer or quantiser is lost on the way into the Graph."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from tests.keras_models import Net, keras
from tinyrobust.convert import arguments, plugin
from tinyrobust.errors import ConvertError

pytestmark = pytest.mark.train


def class_of(kind: str) -> Any:
    import qkeras

    return getattr(qkeras, kind, None) or getattr(keras().layers, kind)


def declared(cls: Any, up_to: Any = object) -> set[str]:
    """Named arguments of all constructors of ``cls``, from ``up_to`` on left out."""
    found: set[str] = set()
    for base in cls.__mro__[: cls.__mro__.index(up_to)]:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            found |= {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    return found - {"self"}


@pytest.mark.parametrize("kind", arguments.LAYERS)
def test_every_argument_of_a_layer_is_listed(kind: str) -> None:
    unknown = declared(class_of(kind), keras().layers.Layer) - arguments.LAYERS[kind].known
    assert unknown <= arguments.BASE.known, f"new arguments of {kind}: honour or refuse them"


@pytest.mark.parametrize("kind", arguments.QUANTIZERS)
def test_every_argument_of_a_quantiser_is_listed(kind: str) -> None:
    assert declared(class_of(kind)) - {"name"} == arguments.QUANTIZERS[kind].known


def test_every_argument_of_the_base_layer_is_listed() -> None:
    layer = keras().layers.Layer
    keywords = re.search(r"allowed_kwargs = \{(.*?)\}", inspect.getsource(layer.__init__), re.S)
    assert keywords
    named = declared(layer, layer.__mro__[1]) | set(re.findall(r'"(\w+)"', keywords[1]))
    assert named <= arguments.BASE.known


def refused(build: Any, folder: Path, shape: tuple[int, int, int] = (8, 8, 3)) -> str:
    net = Net(shape)
    build(net)
    with pytest.raises(ConvertError) as caught:
        plugin.from_keras(keras().Model(net.inputs, net.x), output_dir=folder)
    assert caught.value.hint and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("axis", [1, 2])
def test_batch_normalisation_over_another_axis_is_refused(axis: int, tmp_path: Path) -> None:
    def build(net: Net) -> None:
        net.conv("conv", 8)  # as many channels as rows and columns: no size betrays the axis
        net.layer("BatchNormalization", axis=axis, name="odd")

    assert f"'odd' has axis={axis}" in refused(build, tmp_path)


NORM = {"renorm": True, "virtual_batch_size": 2, "dtype": "float64"}
RELU = {
    "qnoise_factor": 0.0, "use_stochastic_rounding": True, "relu_upper_bound": 1.0,
    "negative_slope": 0.125, "use_sigmoid": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", RELU)
def test_quantized_relu_with_another_meaning_is_refused(name: str, tmp_path: Path) -> None:
    def build(net: Net) -> None:
        from qkeras import QActivation, quantized_relu

        net.conv("conv", 4)
        net.norm("norm")
        net.x = QActivation(quantized_relu(7, 2, **{name: RELU[name]}), name="odd")(net.x)

    assert f"'odd', quantized_relu: has {name}=" in refused(build, tmp_path)


def test_a_quantiser_that_draws_is_refused(tmp_path: Path) -> None:
    def build(net: Net) -> None:
        from qkeras import ternary

        drawn = ternary(alpha="auto", use_stochastic_rounding=True)
        net.conv("odd", 4, kernel_quantizer=drawn)

    assert "'odd', ternary: has use_stochastic_rounding=True" in refused(build, tmp_path)


@pytest.mark.parametrize("name", NORM)
def test_a_batch_normalisation_with_another_meaning_is_refused(name: str, tmp_path: Path) -> None:
    def build(net: Net) -> None:
        net.conv("conv", 4)
        net.layer("BatchNormalization", name="odd", **{name: NORM[name]})

    assert f"'odd' has {name}=" in refused(build, tmp_path)


def test_a_mean_that_keeps_its_axes_is_refused(tmp_path: Path) -> None:
    def build(net: Net) -> None:
        net.layer("GlobalAveragePooling2D", name="odd", keepdims=True)

    assert "'odd' has keepdims=True" in refused(build, tmp_path)


def test_a_layer_called_twice_is_refused(tmp_path: Path) -> None:
    def build(net: Net) -> None:
        from qkeras import QConv2D, ternary

        shared = QConv2D(3, 3, padding="same", use_bias=False, name="odd",
                         kernel_quantizer=ternary(alpha="auto"))  # fmt: skip
        net.x = shared(shared(net.x))

    assert "'odd' is called 2 times" in refused(build, tmp_path)


def test_a_class_of_one_s_own_is_refused(tmp_path: Path) -> None:
    def build(net: Net) -> None:
        class BatchNormalization(keras().layers.BatchNormalization):  # type: ignore[misc]
            def call(self, inputs: Any, training: Any = None) -> Any:
                return -inputs

        net.conv("conv", 4)
        net.x = BatchNormalization(name="odd")(net.x)

    assert "'odd' is a BatchNormalization of tests" in refused(build, tmp_path)
