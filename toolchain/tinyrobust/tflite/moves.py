"""TensorFlow Lite's operators that put values elsewhere, as nodes of ``graph/int8.py``.

In: an operator in its Context. Out: nodes; Unsupported with the reason where there are none. Shapes
are the file's, of any rank: a rearrangement walks flat tensors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyrobust.graph import int8
from tinyrobust.graph.base import Node
from tinyrobust.tflite.context import (
    Context,
    Unsupported,
    activations,
    axis_of,
    graph_shape,
    integers,
    quote,
    same_quantisation,
    scale_of,
)
from tinyrobust.tflite.file import FileTensor
from tinyrobust.tflite.steps import Shape, Steps, dense


def moved(
    context: Context, source: FileTensor, loops: list[tuple[int, int]], begin: int = 0,
    output: int = 0,
) -> list[Node]:  # fmt: skip
    """``source`` walked by ``loops`` of (size, step); a view where that moves nothing."""
    out = context.output(output)
    activations(source, out)
    walked = [pair for pair in loops if pair[0] != 1]
    still = begin == 0 and math.prod(n for n, _ in walked) == source.size
    steps = Steps(context, output)
    if still and [m for _, m in walked] == dense([n for n, _ in walked]):
        return steps.finish(steps.read(source))
    steps.move(steps.read(source), loops, begin, graph_shape(out))
    return steps.done()


def transpose(context: Context) -> list[Node]:
    context.arity((2,))
    source = context.tensor(0)
    rank = len(source.shape)
    order = [axis_of(p, rank) for p in integers(context.tensor(1), rank)]
    if sorted(order) != list(range(rank)):
        raise Unsupported(f"has no permutation of {rank} axes")
    context.expect(tuple(source.shape[p] for p in order))
    steps = dense(source.shape)
    return moved(context, source, [(source.shape[p], steps[p]) for p in order])


def tile(context: Context) -> list[Node]:
    context.arity((2,))
    source = context.tensor(0)
    times = integers(context.tensor(1), len(source.shape))
    if min(times) < 1:
        raise Unsupported(f"repeats {times} times")
    context.expect(tuple(n * t for n, t in zip(source.shape, times, strict=True)))
    loops = []
    for n, t, step in zip(source.shape, times, dense(source.shape), strict=True):
        loops += [(t, 0), (n, step)]
    return moved(context, source, loops)


def broadcast_to(context: Context) -> list[Node]:
    context.arity((2,))
    source, shape = context.tensor(0), tuple(integers(context.tensor(1)))
    context.expect(shape)
    old = (1,) * (len(shape) - len(source.shape)) + source.shape
    if len(old) != len(shape) or any(n not in (1, m) for n, m in zip(old, shape, strict=True)):
        raise Unsupported(f"makes shape {shape} of {source.shape}")
    loops = [(m, 0 if n == 1 else step) for n, m, step in zip(old, shape, dense(old), strict=True)]
    return moved(context, source, loops)


def space_to_depth(context: Context) -> list[Node]:
    context.arity((1,))
    source, block = context.tensor(0), int(context.option("BlockSize"))
    if len(source.shape) != 4 or block < 1 or any(n % block for n in source.shape[1:3]):
        raise Unsupported(f"cuts {quote(source)} of shape {source.shape} into blocks of {block}")
    batch, height, width, depth = source.shape
    rows, columns = height // block, width // block
    context.expect((batch, rows, columns, depth * block * block))
    row = width * depth
    return moved(context, source, [
        (batch * rows, block * row), (columns, block * depth), (block, row), (block * depth, 1),
    ])  # fmt: skip


def depth_to_space(context: Context) -> list[Node]:
    context.arity((1,))
    source, block = context.tensor(0), int(context.option("BlockSize"))
    if len(source.shape) != 4 or block < 1 or source.shape[3] % (block * block):
        raise Unsupported(f"makes blocks of {block} of {quote(source)} of shape {source.shape}")
    batch, height, width, channels = source.shape
    depth = channels // (block * block)
    context.expect((batch, height * block, width * block, depth))
    return moved(context, source, [
        (batch * height, width * channels), (block, block * depth), (width, channels),
        (block * depth, 1),
    ])  # fmt: skip


def space_to_batch_nd(context: Context) -> list[Node]:
    """The input, padded, as one sample for each place in a block."""
    context.arity((3,))
    source, out = context.tensor(0), context.output()
    activations(source, out)
    spatial = len(source.shape) - 2
    block, pads = integers(context.tensor(1)), integers(context.tensor(2))
    if spatial not in (1, 2) or len(block) != spatial or len(pads) != 2 * spatial:
        raise Unsupported(f"cuts {quote(source)} of shape {source.shape} into blocks of {block}")
    batch, *sizes, depth = source.shape
    sizes = [n + a + b for n, a, b in zip(sizes, pads[0::2], pads[1::2], strict=True)]
    if min(*block, *pads, 1) < 0 or any(n % b for n, b in zip(sizes, block, strict=True)):
        raise Unsupported(f"pads by {pads} and cuts {tuple(sizes)} into blocks of {block}")
    parts = [n // b for n, b in zip(sizes, block, strict=True)]
    context.expect((batch * math.prod(block), *parts, depth))
    steps = Steps(context)
    name = steps.read(source)
    if any(pads):
        if batch != 1:
            raise Unsupported("pads several samples")
        before, after = pads[0::2], pads[1::2]
        fields: dict[str, Any] = {
            key: (*([0] * (2 - spatial)), *values, 0)
            for key, values in (("before", before), ("after", after))
        }
        shape = (*([1] * (2 - spatial)), *sizes, depth)
        name = steps.add(int8.PadInt8, [name], shape, value=scale_of(out)[1], **fields)
    moves = dense((batch, *sizes, depth))
    inside = [(b, m) for b, m in zip(block, moves[1:], strict=False)]
    outside = [(n, b * m) for n, b, m in zip(parts, block, moves[1:], strict=False)]
    loops = [*inside, (batch, moves[0]), *outside, (depth, 1)]
    steps.move(name, loops, 0, graph_shape(out))
    return steps.done()


def batch_to_space_nd(context: Context) -> list[Node]:
    """The samples side by side again, and cut off at the edges."""
    context.arity((3,))
    source = context.tensor(0)
    spatial = len(source.shape) - 2
    block, crops = integers(context.tensor(1)), integers(context.tensor(2))
    if spatial not in (1, 2) or len(block) != spatial or len(crops) != 2 * spatial:
        raise Unsupported(f"joins {quote(source)} of shape {source.shape} in blocks of {block}")
    samples, *parts, depth = source.shape
    area = math.prod(block)
    if min(*block, 1) < 1 or min(*crops, 0) < 0 or samples % max(area, 1):
        raise Unsupported(f"joins {samples} samples in blocks of {block}, cropped by {crops}")
    batch = samples // area
    sizes = [n * b - a - c for n, b, a, c in
             zip(parts, block, crops[0::2], crops[1::2], strict=True)]  # fmt: skip
    context.expect((batch, *sizes, depth))
    if batch != 1:
        raise Unsupported("makes several samples")
    moves = dense(source.shape)
    loops, across = [], area
    for axis in range(spatial):
        across //= block[axis]
        places, inner = (parts[axis], moves[1 + axis]), (block[axis], across * moves[0])
        loops += [places, inner]
    if not any(crops):
        return moved(context, source, [*loops, (depth, 1)])
    return _cropped(context, source, loops, block, crops, tuple(sizes), depth)


def _cropped(
    context: Context, source: FileTensor, loops: list[tuple[int, int]], block: list[int],
    crops: list[int], sizes: Shape, depth: int,
) -> list[Node]:  # fmt: skip
    """The joined samples, of which ``sizes`` are left behind the first of ``crops``."""
    steps, out = Steps(context), context.output()
    activations(source, out)
    whole = [loops[2 * i][0] * block[i] for i in range(len(block))]
    name = steps.move(steps.read(source), [*loops, (depth, 1)], 0,
                      (*([1] * (2 - len(whole))), *whole, depth))  # fmt: skip
    first = (*([0] * (2 - len(whole))), *crops[0::2], 0)
    steps.add(
        int8.StridedSliceInt8, [name], (*([1] * (2 - len(sizes))), *sizes, depth), begin=first
    )
    return steps.finish(steps.nodes[-1].output)


def gather(context: Context) -> list[Node]:
    """Slices by constant indices: rows of a table of columns."""
    context.arity((2,))
    source, indices, out = context.tensor(0), context.tensor(1), context.output()
    activations(source, out)
    rank = len(source.shape)
    axis = axis_of(int(context.option("Axis", 0)), rank)
    if context.option("BatchDims", 0):
        raise Unsupported("has batch dimensions")
    if not indices.constant or indices.type not in ("INT32", "INT64"):
        raise Unsupported(f"has computed indices {quote(indices)}")
    picked = indices.values.reshape(-1).astype(np.int64)
    if picked.size == 0 or int(picked.min()) < 0 or int(picked.max()) >= source.shape[axis]:
        raise Unsupported(f"has indices that leave 0..{source.shape[axis] - 1}")
    context.expect((*source.shape[:axis], *indices.shape, *source.shape[axis + 1 :]))
    outer, inner = math.prod(source.shape[:axis]), math.prod(source.shape[axis + 1 :])
    steps = Steps(context)
    name = steps.view(steps.read(source), (outer, source.shape[axis], inner), source)
    steps.add(
        int8.ResizeNearestInt8, [name], (outer, picked.size, inner),
        rows=np.arange(outer, dtype=np.int32), columns=picked.astype(np.int32),
    )  # fmt: skip
    return steps.finish(steps.nodes[-1].output)


def split_v(context: Context) -> list[Node]:
    context.arity((3,), len(context.operator.outputs))
    source = context.tensor(0)
    sizes = integers(context.tensor(1), len(context.operator.outputs))
    (axis,) = integers(context.tensor(2), 1)
    axis = axis_of(axis, len(source.shape))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = source.shape[axis] - sum(n for n in sizes if n != -1)
    if min(sizes) < 1 or sum(sizes) != source.shape[axis]:
        raise Unsupported(f"splits {source.shape[axis]} elements into {sizes}")
    return parts(context, source, axis, sizes)


def split(context: Context) -> list[Node]:
    context.arity((2,), len(context.operator.outputs))
    (axis,), source = integers(context.tensor(0), 1), context.tensor(1)
    count, axis = len(context.operator.outputs), axis_of(axis, len(source.shape))
    if source.shape[axis] % count or context.option("NumSplits") != count:
        raise Unsupported(f"splits axis {axis} of {source.shape} into {count}")
    return parts(context, source, axis, [source.shape[axis] // count] * count)


def unpack(context: Context) -> list[Node]:
    context.arity((1,), len(context.operator.outputs))
    source, count = context.tensor(0), len(context.operator.outputs)
    axis = axis_of(int(context.option("Axis", 0)), len(source.shape))
    if source.shape[axis] != count:
        raise Unsupported(f"makes {count} of axis {axis} of {source.shape}")
    return parts(context, source, axis, [1] * count, drop=True)


def parts(
    context: Context, source: FileTensor, axis: int, sizes: list[int], *, drop: bool = False
) -> list[Node]:
    """The outputs of an operator as one part of ``source`` after the other along ``axis``."""
    outer, inner = math.prod(source.shape[:axis]), math.prod(source.shape[axis + 1 :])
    nodes: list[Node] = []
    first = 0
    for i, size in enumerate(sizes):
        kept = () if drop else (size,)
        context.expect((*source.shape[:axis], *kept, *source.shape[axis + 1 :]), i)
        activations(source, context.output(i))
        steps = Steps(context, i)
        name = steps.view(steps.read(source), (outer, source.shape[axis], inner), source)
        steps.add(int8.StridedSliceInt8, [name], (outer, size, inner), begin=(0, first, 0))
        nodes += steps.finish(steps.nodes[-1].output)
        first += size
    return nodes


def concatenation(context: Context) -> list[Node]:
    sources = [context.tensor(i) for i in range(len(context.operator.inputs))]
    if not sources:
        raise Unsupported("has no inputs")
    if context.option("FusedActivationFunction", 0):
        raise Unsupported("has a fused activation")
    out = context.output()
    for source in sources:
        same_quantisation(source, out)
        if len(source.shape) != len(out.shape):
            raise Unsupported(f"{quote(source)} has shape {source.shape}, the output {out.shape}")
    return joined(context, sources, axis_of(int(context.option("Axis")), len(out.shape)))


def pack(context: Context) -> list[Node]:
    sources = [context.tensor(i) for i in range(len(context.operator.inputs))]
    if not sources or context.option("ValuesCount") != len(sources):
        raise Unsupported(f"packs {context.option('ValuesCount')} of {len(sources)} inputs")
    shape = sources[0].shape
    axis = axis_of(int(context.option("Axis", 0)), len(shape) + 1)
    if any(source.shape != shape for source in sources):
        raise Unsupported("packs tensors of different shapes")
    context.expect((*shape[:axis], len(sources), *shape[axis:]))
    return joined(context, sources, axis)


def joined(context: Context, sources: list[FileTensor], axis: int) -> list[Node]:
    """``sources`` one after the other along ``axis`` of the output."""
    out = context.output()
    activations(*sources, out)
    outer, inner = math.prod(out.shape[:axis]), math.prod(out.shape[axis + 1 :])
    lengths = [source.size // (outer * inner) for source in sources]
    for source, length in zip(sources, lengths, strict=True):
        if outer * length * inner != source.size:
            raise Unsupported(f"{quote(source)} has shape {source.shape}, the output {out.shape}")
    if sum(lengths) != out.shape[axis]:
        raise Unsupported(f"makes {sum(lengths)} along axis {axis}, the output has {out.shape}")
    if (
        len(out.shape) <= 4
        and out.shape[0] == 1
        and axis > 0
        and len(sources[0].shape) == len(out.shape)
    ):
        return [int8.ConcatInt8(**context.edges(*sources), axis=axis - len(out.shape) + 3)]
    steps = Steps(context)
    names = [steps.view(steps.read(s), (outer, n, inner), s)
             for s, n in zip(sources, lengths, strict=True)]  # fmt: skip
    steps.add(int8.ConcatInt8, names, (outer, sum(lengths), inner), axis=1)
    return steps.finish(steps.nodes[-1].output)
