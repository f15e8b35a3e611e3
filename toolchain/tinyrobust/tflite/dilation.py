"""Dilated convolutions that a converter wrote as a plain one on a batch, put together again.

In: a File. Out: the same network in which SPACE_TO_BATCH_ND, convolution and BATCH_TO_SPACE_ND are
one dilated convolution; for the dilated Conv1D of Keras also with EXPAND_DIMS or RESHAPE before it
and SQUEEZE or RESHAPE behind it. What does not fit these forms stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from tinyrobust.tflite.file import File, FileOperator, FileTensor

MAX_SIZE = 64  # elements of a shape, or a list of them
_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
_WIDER, _NARROWER = frozenset({"EXPAND_DIMS", "RESHAPE"}), frozenset({"SQUEEZE", "RESHAPE"})
# Options that are 1 in the middle of a split dilated convolution; padding 1 is VALID.
_PLAIN = ("StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "Padding")
Readers = dict[int, list[FileOperator]]


@dataclass(frozen=True)
class _Found:
    """The operators of a split dilated convolution; ``wider`` and ``narrower`` of Conv1D only."""

    first: FileOperator
    wider: FileOperator | None
    convolution: FileOperator
    narrower: FileOperator | None
    last: FileOperator


def join_dilated(file: File) -> File:
    """``file`` with every split dilated convolution as one; see the module."""
    readers: Readers = {}
    for operator in file.operators:
        for index in operator.inputs:
            readers.setdefault(index, []).append(operator)
    tensors = list(file.tensors)
    joined: dict[int, FileOperator] = {}
    gone: set[int] = set()
    for first in file.operators:
        found = _find(readers, first)
        made = found and _joined(tensors, found)
        if found and made:
            joined |= {operator.index: operator for operator in made}
            gone |= {found.first.index, found.last.index}
    operators = (joined.get(op.index, op) for op in file.operators if op.index not in gone)
    return replace(file, tensors=tuple(tensors), operators=tuple(operators))


def _find(readers: Readers, first: FileOperator) -> _Found | None:
    if first.code != "SPACE_TO_BATCH_ND" or len(first.inputs) != 3 or len(first.outputs) != 1:
        return None
    wider, convolution = None, _sole(readers, first, _CONVOLUTIONS)
    if convolution is None:
        wider = _sole(readers, first, _WIDER)
        convolution = wider and _sole(readers, wider, _CONVOLUTIONS)
    if convolution is None:
        return None
    narrower = _sole(readers, convolution, _NARROWER) if wider else None
    last = _sole(readers, narrower or convolution, {"BATCH_TO_SPACE_ND"})
    if last is None or len(last.inputs) != 3 or (wider is None) != (narrower is None):
        return None
    return _Found(first, wider, convolution, narrower, last)


def _sole(readers: Readers, maker: FileOperator, codes: Collection[str]) -> FileOperator | None:
    """The operator of one of ``codes`` that alone reads what ``maker`` makes, as its data."""
    (tensor,) = maker.outputs
    found = readers.get(tensor, [])
    fits = len(found) == 1 and found[0].code in codes and found[0].inputs[:1] == (tensor,)
    return found[0] if fits and len(found[0].outputs) == 1 else None


def _joined(tensors: list[FileTensor], found: _Found) -> list[FileOperator] | None:
    """The operators that take the place of ``found``; changes the shapes of what they make."""
    first, convolution, last = found.first, found.convolution, found.last
    lists = [tensors[i] for i in (*first.inputs[1:], *last.inputs[1:]) if i >= 0]
    if len(lists) != 4 or not all(is_list(t) for t in lists):
        return None
    block, pads, same, crops = (t.values.astype(int).reshape(-1).tolist() for t in lists)
    options = convolution.options
    result, out = tensors[convolution.outputs[0]], tensors[last.outputs[0]]
    source = tensors[first.inputs[0]]
    spatial = 2 if found.wider is None else 1
    if len(block) != spatial or block != same or min(map(len, (pads, crops))) != 2 * spatial:
        return None
    left = [p - c for p, c in zip(pads, crops, strict=True)]
    plain = all(options.get(key, 1) == 1 for key in _PLAIN)
    quantised = (result.scales, result.zero_points) == (out.scales, out.zero_points)
    if not plain or not quantised or min(left) < 0 or min(block) < 1:
        return None
    if found.wider is None or found.narrower is None:
        return [replace(
            convolution, inputs=(first.inputs[0], *convolution.inputs[1:]), outputs=last.outputs,
            options=_dilated(convolution, block, left),
        )]  # fmt: skip
    place = _place(tensors, found.wider, convolution)
    if place is None or len(source.shape) != 3 or len(out.shape) != 3:
        return None
    for index, like in ((found.wider.outputs[0], source), (result.index, out)):
        shape = (*like.shape[:place], 1, *like.shape[place:])
        tensors[index] = replace(tensors[index], shape=shape, dynamic=like.dynamic)
    one, none = [1], [0, 0]
    blocks, margins = (one + block, none + left) if place == 1 else (block + one, left + none)
    return [
        _view(found.wider, first.inputs[0], found.wider.outputs[0]),
        replace(convolution, options=_dilated(convolution, blocks, margins)),
        _view(found.narrower, result.index, last.outputs[0]),
    ]


def _dilated(convolution: FileOperator, block: list[int], pads: list[int]) -> dict[str, object]:
    return {**convolution.options, "DilationHFactor": block[0], "DilationWFactor": block[1],
            "Pads": tuple(pads)}  # fmt: skip


def _view(operator: FileOperator, source: int, out: int) -> FileOperator:
    """A RESHAPE in the place of ``operator``."""
    return replace(operator, code="RESHAPE", inputs=(source,), outputs=(out,),
                   options={"kind": "NONE"})  # fmt: skip


def _place(tensors: list[FileTensor], wider: FileOperator, convolution: FileOperator) -> int | None:
    """The axis of 1 that ``wider`` puts in, along which the filter does not reach."""
    shape, weights = tensors[wider.outputs[0]].shape, tensors[convolution.inputs[1]].shape
    if len(shape) != 4 or len(weights) != 4:
        return None
    return next((axis for axis in (1, 2) if shape[axis] == weights[axis] == 1), None)


def is_list(tensor: FileTensor) -> bool:
    """True for a constant that holds a shape, or something of that size."""
    small = tensor.constant and tensor.size <= MAX_SIZE
    return small and tensor.type in ("INT32", "INT64")
