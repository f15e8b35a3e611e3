"""Which options an operator of a ``.tflite`` file carries, and what the reader takes of them.

In: the options' table of the flatbuffer. Out: plain data. The schema has one union of all options
tables; an operator means its own only. TensorFlow Lite reads another one's as if there were none.
"""

from __future__ import annotations

from typing import Any

# Options table -> its scalars that the converter uses.
_WINDOW = ("Padding", "StrideW", "StrideH", "FusedActivationFunction")
SCALARS: dict[str, tuple[str, ...]] = {
    "Conv2DOptions": (*_WINDOW, "DilationWFactor", "DilationHFactor"),
    "DepthwiseConv2DOptions": (*_WINDOW, "DepthMultiplier", "DilationWFactor", "DilationHFactor"),
    "TransposeConvOptions": _WINDOW,
    "FullyConnectedOptions": ("FusedActivationFunction", "WeightsFormat", "KeepNumDims"),
    "BatchMatMulOptions": ("AdjX", "AdjY"),
    "Pool2DOptions": (*_WINDOW, "FilterWidth", "FilterHeight"),
    "AddOptions": ("FusedActivationFunction",),
    "SubOptions": ("FusedActivationFunction",),
    "MulOptions": ("FusedActivationFunction",),
    "ConcatenationOptions": ("Axis", "FusedActivationFunction"),
    "SoftmaxOptions": ("Beta",),
    "LeakyReluOptions": ("Alpha",),
    "GeluOptions": ("Approximate",),
    "ReducerOptions": ("KeepDims",),
    "ResizeNearestNeighborOptions": ("AlignCorners", "HalfPixelCenters"),
    "ResizeBilinearOptions": ("AlignCorners", "HalfPixelCenters"),
    "StridedSliceOptions": (
        "BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset",
    ),
    "SplitOptions": ("NumSplits",),
    "SplitVOptions": ("NumSplits",),
    "PackOptions": ("ValuesCount", "Axis"),
    "UnpackOptions": ("Num", "Axis"),
    "GatherOptions": ("Axis", "BatchDims"),
    "SpaceToDepthOptions": ("BlockSize",),
    "DepthToSpaceOptions": ("BlockSize",),
    "MirrorPadOptions": ("Mode",),
    "CallOnceOptions": ("InitSubgraphIndex",),
    "VarHandleOptions": ("Container", "SharedName"),
}  # fmt: skip
# Options table -> (field number, key) of its vector of int32.
VECTORS = {"ReshapeOptions": (0, "NewShape"), "SqueezeOptions": (0, "SqueezeDims")}

# Operators whose table is not called as they are.
_OWN = {
    "AVERAGE_POOL_2D": "Pool2DOptions", "MAX_POOL_2D": "Pool2DOptions",
    "L2_POOL_2D": "Pool2DOptions", "MINIMUM": "MaximumMinimumOptions",
    "MAXIMUM": "MaximumMinimumOptions", "MEAN": "ReducerOptions", "SUM": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions", "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions", "REDUCE_ANY": "ReducerOptions",
    "REDUCE_ALL": "ReducerOptions", "MATRIX_DIAG": "MatrixDiagOptions",
}  # fmt: skip


def foreign(code: str, kind: str) -> bool:
    """True when options called ``kind`` ("NONE" for none) are not those of operator ``code``."""
    own = _OWN.get(code)
    if own is not None:
        return kind not in ("NONE", own)
    return kind != "NONE" and _plain(kind.removesuffix("Options")) != _plain(code)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def read(api: Any, kind: str, table: Any) -> dict[str, Any]:
    """The scalars of ``table`` by the schema's names."""
    if kind not in SCALARS:
        return {}
    options = getattr(api, kind)()
    options.Init(table.Bytes, table.Pos)
    return {name: getattr(options, name)() for name in SCALARS[kind]}
