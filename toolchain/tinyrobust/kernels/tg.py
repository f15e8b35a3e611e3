"""The code generator of ``firmware/kernels/conv2d_tg_u8``, mirrored: what it writes and how long
both take.

In: a ternary convolution and its shapes. Out: how its windows are cut (``Geometry``,
``geometry.hpp``), its weights as codes, and per piece of code (``Unit``) the words it has and the
instructions that run for every word of pixels. The rules stand beside the C++; a test holds the
two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import Conv2D
from tinyrobust.kernels.planar import lane_words

CHANNELS = 4  # that share sums
ZERO = 40  # the code of four zeros
REACH = 4096  # bytes that a load's offset can reach
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Geometry:
    """``geometry.hpp``: taps of a window and of a part, parts; words of a row of output (``lane``),
    from one window to the next (``step``), from one channel to the next (``stretch``); ``direct``:
    windows lie in the source, else they are copied into ``copy_words`` words first."""

    taps: int
    part_taps: int
    parts: int
    lane: int
    step: int
    stretch: int
    direct: bool
    copy_words: int
    columns: int

    @staticmethod
    def of(node: Conv2D, source: tuple[int, ...], output: tuple[int, ...], split: int) -> Geometry:
        """The geometry of ``node`` between tensors of these shapes (H, W, C)."""
        kernel_h, kernel_w, in_c = node.weights.shape[1:]
        (in_h, in_w, _), (out_h, out_w, _) = source, output
        lane, source_lane, step = lane_words(out_w), lane_words(in_w), node.strides[1]
        columns = (lane - 1) * step + kernel_w
        rows = (out_h - 1) * node.strides[0] + kernel_h
        top, left = node.pads[0], node.pads[2]
        direct = (
            source_lane == step * lane and left <= 1 and top <= 1
            and columns <= source_lane + 1 + left and rows <= in_h + 1 + top
        )  # fmt: skip
        stretch = source_lane + 2 if direct else columns
        reached = (REACH - 4 * kernel_w) // (4 * stretch) + 1
        most = max(min(split // kernel_w, reached), 1)
        stretches = kernel_h * in_c
        parts = -(-stretches // most)
        return Geometry(
            taps=stretches * kernel_w, part_taps=-(-stretches // parts) * kernel_w, parts=parts,
            lane=lane, step=step, stretch=stretch, direct=direct,
            copy_words=0 if direct else rows * in_c * stretch, columns=kernel_w,
        )  # fmt: skip

    @property
    def node_bytes(self) -> int:
        """Bytes of the table of inputs that stands before the code."""
        return 8 * (-(-self.part_taps // 4) * 4)

    def part_sizes(self) -> list[int]:
        """Inputs of every part."""
        return [
            min(self.part_taps, self.taps - first) for first in range(0, self.taps, self.part_taps)
        ]


def codes(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Codes (blocks, taps) of trits (OC, KH, KW, IC), inputs in the order row, channel, column."""
    rows = weights.transpose(0, 1, 3, 2).reshape(len(weights), -1).astype(np.int64)
    rows = np.pad(rows, ((0, -len(rows) % CHANNELS), (0, 0)))
    quads = rows.reshape(-1, CHANNELS, rows.shape[1]) + 1
    return np.einsum("bct,c->bt", quads, np.array([27, 9, 3, 1])).astype(np.uint8)


def stream(weights: npt.NDArray[np.int8], geometry: Geometry) -> Codes:
    """The bytes in flash: block after block, part after part, each filled up to words."""
    pieces = []
    for block in codes(weights):
        for first in range(0, geometry.taps, geometry.part_taps):
            part = block[first : first + geometry.part_taps]
            pieces.append(np.pad(part, (0, -len(part) % 4), constant_values=ZERO))
    return np.concatenate(pieces)


def stream_bytes(node: Conv2D, geometry: Geometry) -> int:
    """Length of ``stream``."""
    blocks = -(-len(node.weights) // CHANNELS)
    return blocks * sum(-(-n // 4) * 4 for n in geometry.part_sizes())


@dataclass(frozen=True)
class Finish:
    """What a unit does with its sums (generate.hpp)."""

    kind: str  # part, raw, plain, add8, add16
    channels: int
    scaled: bool  # the shift is 16
    in_place: bool
    shared: bool = False

    @cached_property
    def group(self) -> int:
        """Instructions that run for every word of pixels, the loop's own among them."""
        loop = 6 + self.shared  # a conditional BX takes an IT
        if self.kind == "part":
            return 5 + loop
        if self.kind == "raw":
            return 9 + loop
        each = 5 + (6 if self.scaled else 8)
        if self.kind == "add8":
            each += 4 + 4 + (0 if self.in_place else 2)
        elif self.kind == "add16":
            each += 3 + 4
        return 2 + self.channels * each + (3 if self.kind == "add16" else 0) + loop

    @property
    def words(self) -> int:
        """Words of code, the loop over rows among them."""
        return self.group - self.shared + 11

    @property
    def row(self) -> int:
        """Instructions at the end of a row."""
        return 9 + self.shared

    @property
    def same(self) -> tuple[str, int]:
        """Equal for finishes that units can share."""
        return self.kind, 0 if self.kind == "part" else self.channels

    LAST = 2  # instructions after the last row


@dataclass(frozen=True)
class Unit:
    """One part of one block: ``words`` of its sums, which run for every word of pixels.

    ``leaves``: classes that are not empty; ``pairs``, ``singles``: of inputs in them.
    """

    words: int
    leaves: int
    pairs: int
    singles: int
    additions: int
    spills: int

    @property
    def inputs(self) -> int:
        """Inputs that are not zero in all four channels."""
        return 2 * self.pairs + self.singles


class _Tree:
    """Counts what sums.cpp writes for one unit."""

    def __init__(self, part: Codes) -> None:
        self.counts = np.bincount(part, minlength=81)
        self.words = self.leaves = self.pairs = self.singles = self.additions = self.spills = 0
        self.signs = {"sum0": 0, "sum1": 0, "channel2": 0, "channel3": 0}

    def leaf(self, code: int) -> int:
        plus, minus = int(self.counts[code]), int(self.counts[80 - code])
        if not plus + minus:
            return 0
        more, less = max(plus, minus), min(plus, minus)
        pairs, single = less + (more - less) // 2, (more - less) % 2
        self.leaves += 1
        self.pairs += pairs
        self.singles += single
        self.words += 5 * pairs + 3 * single
        return 1 if plus >= minus else -1

    def accumulate(self, to: int, sign: int) -> int:
        self.words += 2
        self.additions += 1
        return to or sign

    def into(self, name: str, sign: int) -> None:
        self.signs[name] = self.accumulate(self.signs[name], sign)

    def spill(self, name: str, sign: int) -> None:
        self.words += 4 if self.signs[name] else 1
        self.spills += 1
        self.signs[name] = self.signs[name] or sign

    def prefix3(self, code: int) -> int:
        sign = self.leaf(code)
        for step in (1, -1):
            found = self.leaf(code + step)
            if found:
                sign = self.accumulate(sign, found)
                self.into("channel3", step * found)
        return sign

    def prefix2(self, code: int) -> int:
        sign = self.prefix3(code)
        for step in (1, -1):
            found = self.prefix3(code + 3 * step)
            if found:
                sign = self.accumulate(sign, found)
                self.into("channel2", step * found)
        return sign

    def classes(self) -> int:
        """The whole tree; the sign of channel 1."""
        for step in (0, 1, -1):
            found = self.prefix2(ZERO + 27 + 9 * step)
            if found:
                self.spill("sum0", found)
                if step:
                    self.spill("sum1", step * found)
        sign1 = self.prefix2(ZERO + 9)
        if self.signs["sum1"]:
            self.words += 1
            sign1 = self.accumulate(sign1, self.signs["sum1"]) if sign1 else self.signs["sum1"]
        for name, found in (
            ("channel2", self.prefix3(ZERO + 3)),
            ("channel3", self.leaf(ZERO + 1)),
        ):
            if found:
                self.into(name, found)
        for name in ("sum0", "channel2", "channel3"):
            if not self.signs[name]:
                self.words += 2
                self.signs[name] = 1
        if not sign1:
            self.words += 2
            sign1 = 1
        return sign1


def unit(part: Codes, finish: Finish, *, joins: bool) -> Unit:
    """The unit of the codes ``part``; ``joins``: there was a part before."""
    tree = _Tree(part)
    sign1 = tree.classes()
    words = tree.words + 1
    if joins:
        words += 1 + 4 * 3 + 2 + (0 if finish.kind == "part" else 2)
    if finish.kind == "raw":
        words += 1 + 2 * ((sign1 < 0) + (tree.signs["channel2"] < 0) + (tree.signs["channel3"] < 0))
        words += 4 if tree.signs["sum0"] < 0 else 0
    return Unit(words, tree.leaves, tree.pairs, tree.singles, tree.additions, tree.spills)


def units(
    node: Conv2D, geometry: Geometry, kind: str, *, scaled: bool, in_place: bool, shared: bool
) -> Iterator[tuple[Finish, Unit, int]]:
    """Every unit of a layer whose accumulators end as ``kind``: its finish, its sums, its codes."""
    every = codes(node.weights)
    for block, row in enumerate(every):
        channels = min(CHANNELS, len(node.weights) - CHANNELS * block)
        for part, first in enumerate(range(0, geometry.taps, geometry.part_taps)):
            last = part + 1 == geometry.parts
            finish = Finish(kind if last else "part", channels, scaled, in_place, shared)
            found = row[first : first + geometry.part_taps]
            yield finish, unit(found, finish, joins=part > 0), -(-len(found) // 4) * 4
