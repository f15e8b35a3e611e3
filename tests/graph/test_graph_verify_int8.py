"""The rules of family ``tflite``: every broken one is named with its node."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.tflite_cases import CASES
from tinyrobust.errors import GraphError
from tinyrobust.graph import Graph
from tinyrobust.graph.verify_int8 import accumulator_range
from tinyrobust.tflite import importer as tflite


def of(operator: str, seed: int = 5) -> Graph:
    return tflite.from_bytes(CASES[operator](np.random.default_rng(seed)), name="case")


def main_node(net: Graph) -> Any:
    return next(n for n in net.nodes if n.op not in ("input_int8", "strided_slice_int8"))


def changed(net: Graph, node: Any, **fields: Any) -> Graph:
    nodes = tuple(dataclasses.replace(n, **fields) if n is node else n for n in net.nodes)
    return dataclasses.replace(net, nodes=nodes)


def retyped(net: Graph, position: int, **fields: Any) -> Graph:
    tensors = list(net.tensors)
    tensors[position] = dataclasses.replace(tensors[position], **fields)
    return dataclasses.replace(net, tensors=tuple(tensors))


BROKEN: dict[str, tuple[str, Any, str]] = {
    "bias too large": (
        "CONV_2D", lambda n: {"bias": np.full_like(n.bias, 2**31 - 1)}, "channel 0: the sum reaches"
    ),
    "multiplier": (
        "CONV_2D", lambda n: {"multipliers": np.full_like(n.multipliers, 5)}, "multiplier 5 is"
    ),
    "left shift": (
        "CONV_2D", lambda n: {"shifts": np.full_like(n.shifts, 31)}, "shift 31 is not in -31..30"
    ),
    "shift": ("CONV_2D", lambda n: {"shifts": np.full_like(n.shifts, -32)}, "shift -32 is not in"),
    "clamp": ("CONV_2D", lambda n: {"lo": 5, "hi": 4}, "clamps to 5..4"),
    "zero point": ("CONV_2D", lambda n: {"input_zero": 128}, "zero point 128 is not int8"),
    "int4": ("CONV_2D", lambda n: {"weight_bits": 4}, "has weights outside -8..7"),
    "bits": ("CONV_2D", lambda n: {"weight_bits": 2}, "has weights of 2 bits"),
    "tables": ("CONV_2D", lambda n: {"bias": n.bias[:-1]}, "bias is int32"),
    "dtype": ("CONV_2D", lambda n: {"bias": n.bias.astype(np.int64)}, "bias is int64"),
    "strides": ("CONV_2D", lambda n: {"strides": (0, 1)}, "bad strides or dilations"),
    "pads": ("CONV_2D", lambda n: {"pads": (99, 99, 0, 0)}, "pads reach the window's size"),
    "depth": ("DEPTHWISE_CONV_2D", lambda n: {"depth_multiplier": 9}, "the input's"),
    "columns": ("FULLY_CONNECTED", lambda n: {"weights": n.weights[:, :-1]}, "weights take"),
    "mean axes": ("MEAN", lambda n: {"axes": (2, 0, 0)}, "axes are (2, 0, 0)"),
    "mean shift": ("MEAN", lambda n: {"shift": 31}, "shift 31 is not in -31..30"),
    "add shift": ("ADD", lambda n: {"shifts": (1, 0, 0)}, "shift 1 is above 0"),
    "mul": ("MUL", lambda n: {"shift": 31}, "shift 31 is not in -31..30"),
    "pad value": ("PAD", lambda n: {"value": 200}, "value 200 is not int8"),
    "pad shape": ("PAD", lambda n: {"before": (50, 0, 0)}, "its inputs make"),
    "slice": ("STRIDED_SLICE", lambda n: {"begin": (0, 0, 90)}, "elements from 90 by"),
    "resize": (
        "RESIZE_NEAREST_NEIGHBOR", lambda n: {"rows": n.rows + np.int32(90)}, "rows leave 0.."
    ),
    "table": ("RELU", lambda n: {"table": n.table[:255]}, "table is int8 (255,)"),
    "exponentials": (
        "SOFTMAX", lambda n: {"exponentials": n.exponentials // np.int32(2)}, "must begin with 1"
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named(rule: str) -> None:
    operator, change, words = BROKEN[rule]
    net = of(operator)
    node = next(n for n in net.nodes if n.op not in ("input_int8", "scores_int8")
                and (n.op != "strided_slice_int8" or operator == "STRIDED_SLICE"))  # fmt: skip
    with pytest.raises(GraphError) as error:
        changed(net, node, **change(node))
    assert words in error.value.message and f"node '{node.name}'" in error.value.message


def test_tensors_are_int8_with_a_sound_scale() -> None:
    net = of("RELU")
    for fields, words in (
        ({"lo": 0}, "has range 0..127, not that of int8, int16 or int32"),
        ({"lo": -32768, "hi": 32767}, "has range -32768..32767, not int8's"),
        ({"frac_bits": 3}, "has a binary scale"),
        ({"scale": float("nan")}, "has scale nan"),
        ({"scale": 0.0}, "has scale 0.0"),
        ({"zero_point": 200}, "zero point 200"),
    ):
        with pytest.raises(GraphError, match=words.replace("(", r"\(")):
            retyped(net, 1, **fields)


def test_families_do_not_mix() -> None:
    net = of("RELU")
    with pytest.raises(GraphError, match="is no operation of family 'fixed'"):
        dataclasses.replace(net, family="fixed", tensors=tuple(
            dataclasses.replace(t, scale=None, zero_point=0) for t in net.tensors
        ))  # fmt: skip
    with pytest.raises(GraphError, match="unknown arithmetic family 'float'"):
        dataclasses.replace(net, family="float")


@pytest.mark.parametrize("operator", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_accumulator_ranges_are_reached(operator: str) -> None:
    """The proved range is that of the worst inputs, found one tap at a time."""
    node = main_node(of(operator, 11))
    low, high = accumulator_range(node)
    ends = np.array([-128, 127]) - node.input_zero
    for channel, taps in enumerate(node.per_channel.astype(int)):
        products = np.sort(np.append(np.outer(taps, ends), np.zeros((len(taps), 1)), axis=1))
        bias = int(node.bias[channel])
        assert (bias + products[:, 0].sum(), bias + products[:, -1].sum()) == (
            low[channel], high[channel],
        )  # fmt: skip
