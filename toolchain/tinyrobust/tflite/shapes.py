"""What converters leave in a file whose batch was open: arithmetic on shapes, split dilation.

In: a File. Out: the same network with a batch of 1 settled: operators that only compute shapes
are constants, shapes that follow from them are filled in, and what ``dilation`` finds is one
dilated convolution. What does not fit these forms stays as it is, to be
refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tinyrobust.tflite.dilation import MAX_SIZE, is_list, join_dilated
from tinyrobust.tflite.file import File, FileOperator, FileTensor

Ints = npt.NDArray[np.int64]
_SAME_SHAPE = frozenset({
    "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "LOGISTIC", "TANH", "HARD_SWISH", "QUANTIZE",
    "DEQUANTIZE", "SOFTMAX",
})  # fmt: skip
_BROADCAST = frozenset({"ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM"})


def settle(file: File) -> File:
    """``file`` with everything settled that can be; see the module."""
    work = _Settle(list(file.tensors), set())
    operators = [op for op in file.operators if not work.takes(op)]
    settled = replace(file, tensors=tuple(work.tensors), operators=tuple(operators))
    return join_dilated(settled)


@dataclass
class _Settle:
    tensors: list[FileTensor]
    changed: set[int]  # tensors whose shape is not what the file says

    def takes(self, operator: FileOperator) -> bool:
        """True when ``operator`` became a constant; else its output's shape is settled."""
        if len(operator.outputs) != 1:
            return False
        out = self.tensors[operator.outputs[0]]
        sources = [self.tensors[i] for i in operator.inputs if i >= 0]
        if operator.code in _FOLDS and out.type in ("INT32", "INT64"):
            values = self._fold(operator, sources)
            if values is None or values.size > MAX_SIZE or values.size == 0:
                return False
            raw = values.astype("<i4" if out.type == "INT32" else "<i8").tobytes()
            made = replace(out, shape=values.shape, raw=raw, dynamic=False)
            self.tensors[out.index] = made
            return True
        shape = self._shape(operator, sources)
        if shape is not None and (shape != out.shape or out.dynamic):
            self.tensors[out.index] = replace(out, shape=shape, dynamic=False)
            self.changed.add(out.index)
        return False

    def _fold(self, operator: FileOperator, sources: list[FileTensor]) -> Ints | None:
        if operator.code == "SHAPE":
            known = len(sources) == 1 and not sources[0].dynamic
            return np.array(sources[0].shape, np.int64) if known else None
        if not sources or not all(is_list(t) for t in sources):
            return None
        try:
            return _FOLDS[operator.code](operator, [t.values.astype(np.int64) for t in sources])
        except (IndexError, ValueError, TypeError):
            return None  # not of the form that shapes take

    def _shape(self, operator: FileOperator, sources: list[FileTensor]) -> tuple[int, ...] | None:
        """The output's shape where it follows from a settled one."""
        code = operator.code
        if code == "RESHAPE" and len(sources) == 2 and is_list(sources[1]):
            return _resolved(sources[0].size, [int(v) for v in sources[1].values.reshape(-1)])
        if not self.changed.intersection(operator.inputs):
            return None
        if code in _SAME_SHAPE and len(sources) == 1:
            return sources[0].shape
        if code in _BROADCAST and len(sources) == 2:
            try:
                return tuple(np.broadcast_shapes(sources[0].shape, sources[1].shape))
            except ValueError:
                return None
        if code == "FULLY_CONNECTED" and len(sources) >= 2 and len(sources[1].shape) == 2:
            outputs, depth = sources[1].shape
            if operator.options.get("KeepNumDims"):
                return (*sources[0].shape[:-1], outputs)
            return (sources[0].size // depth, outputs) if depth else None
        return None


def _resolved(size: int, wanted: list[int]) -> tuple[int, ...] | None:
    """``wanted`` with its one -1 filled in; None when it does not hold ``size`` elements."""
    if wanted.count(-1) > 1 or any(n < -1 or n == 0 for n in wanted):
        return None
    rest = math.prod(n for n in wanted if n != -1)
    filled = tuple(size // rest if n == -1 else n for n in wanted)
    return filled if math.prod(filled) == size else None


def _slice(operator: FileOperator, inputs: list[Ints]) -> Ints:
    values, begin, end, stride = inputs
    options = operator.options
    if values.ndim != 1 or any(options.get(m) for m in ("EllipsisMask", "NewAxisMask", "Offset")):
        raise ValueError
    first = None if options.get("BeginMask") else int(begin[0])
    last = None if options.get("EndMask") else int(end[0])
    if options.get("ShrinkAxisMask"):
        return np.asarray(values[0 if first is None else first])
    return values[first : last : int(stride[0])]


def _gather(operator: FileOperator, inputs: list[Ints]) -> Ints:
    values, indices = inputs
    if values.ndim != 1:
        raise ValueError
    return np.asarray(values[indices])


def _product(operator: FileOperator, inputs: list[Ints]) -> Ints:
    keep = bool(operator.options.get("KeepDims"))
    axes = tuple(int(axis) for axis in inputs[1].reshape(-1))
    return np.asarray(np.prod(inputs[0], axis=axes, keepdims=keep))


_FOLDS: Mapping[str, Callable[[FileOperator, list[Ints]], Ints]] = {
    "SHAPE": lambda operator, inputs: inputs[0],
    "STRIDED_SLICE": _slice,
    "GATHER": _gather,
    "REDUCE_PROD": _product,
    "PACK": lambda operator, inputs: np.stack(inputs),
    "CONCATENATION": lambda operator, inputs: np.concatenate(inputs),
    "MUL": lambda operator, inputs: np.asarray(inputs[0] * inputs[1]),
}
