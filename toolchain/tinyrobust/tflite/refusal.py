"""Why a ``.tflite`` file cannot be taken, as people ask it: first what kind of file it is, then
what is missing, alike things together with their count.

In: a parsed file and what was found in it. Out: a ConvertError. ``table`` is the list of its
operators, for those who want to look themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tinyrobust.errors import ConvertError
from tinyrobust.tflite.context import quote
from tinyrobust.tflite.file import File, FileOperator, FileTensor

MAX_LISTED = 100
_MAX_NUMBERS = 8  # operators of one kind that are named by number
_QUANTISE = (
    "quantise it fully to int8: post-training quantisation with a representative data set, "
    "TFLITE_BUILTINS_INT8, inference types int8"
)
# Operators with weights: (position of the data, position of the weights).
_WEIGHTED = {
    "CONV_2D": (0, 1), "DEPTHWISE_CONV_2D": (0, 1), "FULLY_CONNECTED": (0, 1),
    "TRANSPOSE_CONV": (2, 1), "SVDF": (0, 1), "UNIDIRECTIONAL_SEQUENCE_LSTM": (0, 1),
}  # fmt: skip
# (type of the data, type of the weights) -> kind and what to do.
_KINDS = {
    ("FLOAT32", "FLOAT32"): ("a float32 network", _QUANTISE),
    ("FLOAT32", "FLOAT16"): ("a float network with float16 weights", _QUANTISE),
    ("FLOAT32", "INT8"): (
        "a dynamic range network: int8 weights, but activations in float32", _QUANTISE
    ),
    ("FLOAT32", "INT4"): (
        "a dynamic range network: int4 weights, but activations in float32", _QUANTISE
    ),
    ("UINT8", "UINT8"): (
        "a uint8 network of the quantisation before 2020 (asymmetric weights)",
        "convert it again with TensorFlow 2: " + _QUANTISE,
    ),
    ("INT16", "INT8"): (
        "an int16x8 network: int16 activations, int8 weights",
        "convert it with int8 activations (TFLITE_BUILTINS_INT8)",
    ),
}  # fmt: skip
# What is in the name of a custom operator -> the accelerator whose compiler wrote it.
_ACCELERATORS = {
    "ethos-u": "Arm Ethos-U (by Vela)",
    "edgetpu": "Google's Edge TPU",
    "neutron": "NXP's eIQ Neutron NPU",
    "ethos-n": "Arm Ethos-N",
    "akida": "BrainChip's Akida",
    "npu": "an NPU",
}
_CONTROL = ("IF", "WHILE", "CALL", "STABLEHLO_WHILE", "STABLEHLO_CASE")


@dataclass(frozen=True)
class Problem:
    """One thing that cannot be taken: an operator, or with None an edge of the network."""

    operator: FileOperator | None
    reason: str


def kind(file: File) -> tuple[str, str]:
    """(what kind of file it is, what to do about it); empty for an int8 network."""
    custom = [op.code for op in file.operators if op.code.startswith("CUSTOM ")]
    for mark, name in _ACCELERATORS.items():
        if any(mark in code.lower() for code in custom):
            return f"compiled for {name}", "give the file that the accelerator's compiler was given"
    control = sorted({op.code for op in file.operators if op.code in _CONTROL})
    if control:
        return f"a network with control flow ({', '.join(control)})", "unroll it in training code"
    pairs = Counter(p for op in file.operators if (p := _types(file, op)) is not None)
    if pairs:
        most = max(pairs, key=lambda p: (pairs[p], p))
        return _KINDS.get(most, ("", ""))
    makes = Counter(file.tensors[i].type for op in file.operators for i in op.outputs)
    if makes and makes.most_common(1)[0][0] == "FLOAT32" and "INT8" not in makes:
        return _KINDS["FLOAT32", "FLOAT32"]
    return "", ""


def _types(file: File, operator: FileOperator) -> tuple[str, str] | None:
    """Types of the data and of the weights of an operator with weights."""
    places = _WEIGHTED.get(operator.code)
    if places is None or max(places) >= len(operator.inputs):
        return None
    data, weights = (file.tensors[operator.inputs[i]] for i in places)
    kept = weights.type
    for other in file.operators:
        if other.code == "DEQUANTIZE" and weights.index in other.outputs and other.inputs:
            kept = file.tensors[other.inputs[0]].type  # float16 weights are made float32 so
    return data.type, kept


def refusal(
    where: str, file: File, problems: Sequence[Problem], supported: Sequence[str]
) -> ConvertError:
    """The error that lists ``problems``; ``supported``: operators that there are."""
    what, advice = kind(file)
    shown = list(problems)
    if what:  # says already why every type is wrong: what is left are operators there is none of
        shown = [p for p in shown if p.operator is not None and p.operator.code not in supported]
    groups = _grouped(file, shown)
    lines = groups[:MAX_LISTED]
    if len(groups) > MAX_LISTED:
        lines.append(f"and {len(groups) - MAX_LISTED} more kinds")
    count = len(shown)
    things = f"{count} things are" if count > 1 else "one thing is"
    listed = f"{things} not supported:" + (f" {lines[0]}" if len(lines) == 1 else
                                           "".join(f"\n  {line}" for line in lines))  # fmt: skip
    if not what:
        return ConvertError(f"{where}: {listed}", f"supported: {', '.join(sorted(supported))}")
    head = f"{where} is {what}; this takes int8 networks. It has {operators(file)}"
    return ConvertError(f"{head}; besides, {listed}" if shown else head, advice)


def operators(file: File) -> str:
    """The operators with their counts, the most frequent first."""
    found = Counter(op.code for op in file.operators)
    return ", ".join(f"{n} {code}" for code, n in found.most_common()) or "no operators"


def _grouped(file: File, problems: Sequence[Problem]) -> list[str]:
    """A line for each cause: problems of one operator code whose reasons differ in names only."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        code = "" if problem.operator is None else problem.operator.code
        key = code, re.sub(r"'[^']*'|\d+", "*", problem.reason)
        groups.setdefault(key, []).append(problem)
    return [_line(file, group) for group in groups.values()]


def _line(file: File, group: Sequence[Problem]) -> str:
    first = group[0]
    if first.operator is None:
        rest = f" (and {len(group) - 1} more alike)" if len(group) > 1 else ""
        return first.reason + rest
    operator = first.operator
    edges = f"({_names(file, operator.inputs)} -> {_names(file, operator.outputs)})"
    head = f"operator {operator.index} {operator.code} {edges}: {first.reason}"
    if len(group) == 1:
        return head
    numbers = [str(p.operator.index) for p in group[1 : _MAX_NUMBERS + 1] if p.operator is not None]
    dots = ", ..." if len(group) > _MAX_NUMBERS + 1 else ""
    return f"{len(group)} x {operator.code}: {head} (alike: operators {', '.join(numbers)}{dots})"


def _names(file: File, indices: Sequence[int]) -> str:
    return ", ".join(quote(file.tensors[i]) for i in indices[:4] if i >= 0)


def table(file: File) -> list[tuple[str, str, str, str]]:
    """(number, operator, what it reads, what it makes) of every operator."""
    return [
        (str(op.index), op.code, _edges(file, op.inputs), _edges(file, op.outputs))
        for op in file.operators
    ]


def _edges(file: File, indices: Sequence[int]) -> str:
    return ", ".join(_edge(file.tensors[i]) for i in indices if i >= 0)


def _edge(tensor: FileTensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    return f"{tensor.type.lower()} {shape}{' constant' if tensor.constant else ''}"
