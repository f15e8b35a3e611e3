"""Loops over int8 tensors: merged, they take the same elements in the same order."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyrobust.graph import int8
from tinyrobust.kernels import loops

SHAPE = st.tuples(*[st.integers(1, 4)] * 3)


def walk(size: loops.Shape, steps: loops.Shape) -> list[int]:
    """Offsets that nested loops give."""
    return [sum(i * s for i, s in zip(at, steps, strict=True))
            for at in itertools.product(*(range(n) for n in size))]  # fmt: skip


@given(SHAPE, st.lists(st.tuples(*[st.integers(-9, 9)] * 3), min_size=1, max_size=3))
def test_merged_loops_walk_alike(size: loops.Shape, steps: list[loops.Shape]) -> None:
    merged = loops.merged(size, *steps)
    for before, after in zip(steps, merged.steps, strict=True):
        assert walk(merged.size, after) == walk(size, before)


def test_dense_tensors_are_one_loop() -> None:
    steps = loops.dense_steps((4, 5, 6))
    assert loops.merged((4, 5, 6), steps, steps).size == (1, 1, 120)
    assert loops.dense_steps((6,)) == (6, 6, 1)


@given(SHAPE, st.tuples(*[st.booleans()] * 3), st.booleans())
def test_operands_that_are_broadcast(out: loops.Shape, kept: tuple[bool, ...], first: bool) -> None:
    part = tuple(n if keep else 1 for n, keep in zip(out, kept, strict=True))
    constant = np.arange(np.prod(part), dtype=np.int8).reshape(part)
    node = int8.MinimumInt8("n", ("x",), "y", constant=constant, constant_first=first)
    found = loops.binary(node, [out], out)
    wanted = np.broadcast_to(constant.astype(int), out).ravel().tolist()
    assert walk(found.size, found.steps[0 if first else 1]) == wanted
    assert walk(found.size, found.steps[1 if first else 0]) == list(range(int(np.prod(out))))


@given(SHAPE, st.tuples(*[st.integers(0, 1)] * 3))
def test_sums_of_a_mean(shape: loops.Shape, axes: tuple[int, int, int]) -> None:
    node = int8.MeanInt8("n", ("x",), "y", axes=axes)
    outer, inner = loops.mean(node, shape)
    x = np.arange(np.prod(shape)).reshape(shape)
    reduced = tuple(i for i, a in enumerate(axes) if a)
    wanted = x.sum(axis=reduced).ravel().tolist()
    starts, terms = walk(outer.size, outer.steps[0]), walk(inner.size, inner.steps[0])
    assert [sum(start + term for term in terms) for start in starts] == wanted


@given(SHAPE, SHAPE, SHAPE)
def test_copies_into_a_border(
    shape: loops.Shape, before: tuple[int, int, int], after: tuple[int, int, int]
) -> None:
    node = int8.PadInt8("n", ("x",), "y", before=before, after=after, value=-1)
    x = np.arange(np.prod(shape)).reshape(shape)
    wanted = np.pad(x, list(zip(before, after, strict=True)), constant_values=-1)
    copy = loops.copy(node, shape, wanted.shape)
    out = np.full(copy.fill, -1)
    sources, targets = (walk(copy.loops.size, s) for s in copy.loops.steps)
    out[[copy.target + t for t in targets]] = [copy.source + s for s in sources]
    np.testing.assert_array_equal(out, wanted.ravel())
