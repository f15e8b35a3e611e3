"""Sparse constants of a ``.tflite`` file, made dense.

In: a tensor's bytes and its ``SparsityParameters``. Out: the bytes of the dense tensor. The format
is TACO's, as tensorflow/lite/schema describes it: the tensor's axes and then the axes of its
blocks, in the order that ``traversal`` gives, each dense or a list of the indices that there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Level:
    """One axis in the order of traversal: ``size`` of it, or for each index of the level before
    the entries ``segments[i]..segments[i + 1]`` of ``indices``."""

    size: int
    segments: Ints | None
    indices: Ints | None


@dataclass(frozen=True)
class Sparsity:
    """``traversal``: which axis comes when, axes of blocks behind those of the tensor;
    ``blocked``: the tensor's axis that each block axis divides."""

    traversal: tuple[int, ...]
    blocked: tuple[int, ...]
    levels: tuple[Level, ...]


def densify(
    sparsity: Sparsity, values: npt.NDArray[np.uint8], shape: Sequence[int], limit: int
) -> npt.NDArray[np.uint8]:
    """``values`` (entries, bytes of an element) as (elements of ``shape``, bytes of an element).

    Raises ValueError when they do not fit one another, or when more than ``limit`` entries would
    have to be walked.
    """
    rank, depth = len(shape), len(sparsity.traversal)
    if depth != rank + len(sparsity.blocked) or len(sparsity.levels) != depth:
        raise ValueError("its axes do not fit its sparsity")
    if sorted(sparsity.traversal) != list(range(depth)):
        raise ValueError("its traversal order is no permutation")
    if any(not 0 <= axis < rank for axis in sparsity.blocked):
        raise ValueError("its block map names an axis that is not there")
    where = np.zeros((1, depth), np.int64)  # of every entry so far, by axis
    before = np.zeros(1, np.int64)  # its number in the level before
    for axis, level in zip(sparsity.traversal, sparsity.levels, strict=True):
        before, parent, index = _expand(level, before, limit)
        where = where[parent]
        where[:, axis] = index
    sizes = dict(zip(sparsity.traversal, (level.size for level in sparsity.levels), strict=True))
    for i, axis in enumerate(sparsity.blocked):
        where[:, axis] = where[:, axis] * sizes[rank + i] + where[:, rank + i]
    where = where[:, :rank]
    if len(where) != len(values) or np.any(where < 0) or np.any(where >= np.array(shape)):
        raise ValueError(f"its sparsity places {len(where):,} values, the file has {len(values):,}")
    dense = np.zeros((math.prod(shape), values.shape[1]), np.uint8)
    if len(where):
        dense[np.ravel_multi_index(tuple(where.T), tuple(shape))] = values
    return dense


def _expand(level: Level, before: Ints, limit: int) -> tuple[Ints, Ints, Ints]:
    """(number in this level, row of the level before, index along the axis) of every entry."""
    if level.segments is None or level.indices is None:
        if level.size < 0 or len(before) * level.size > limit:
            raise ValueError("its sparsity is larger than a tensor may be")
        index = np.tile(np.arange(level.size), len(before))
        parent = np.repeat(np.arange(len(before)), level.size)
        return before[parent] * level.size + index, parent, index
    segments = level.segments
    if before.size and int(before.max()) + 1 >= len(segments):
        raise ValueError("its sparsity has too few segments")
    first, last = segments[before], segments[before + 1]
    counts = last - first
    if np.any(counts < 0) or np.any(first < 0) or np.any(last > len(level.indices)):
        raise ValueError("its sparsity has segments that leave their indices")
    if int(counts.sum()) > limit:
        raise ValueError("its sparsity is larger than a tensor may be")
    parent = np.repeat(np.arange(len(before)), counts)
    start = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    number = np.arange(int(counts.sum())) + start
    return number, parent, level.indices[number]
