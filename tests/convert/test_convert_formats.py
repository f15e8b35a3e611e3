"""Formats: the most fraction bits that fit, exact integers, and channels named when none fit."""

from __future__ import annotations

import numpy as np
import pytest

from tinyrobust.convert import formats
from tinyrobust.convert.formats import Branch
from tinyrobust.errors import ConvertError
from tinyrobust.graph.nodes import Tensor
from tinyrobust.graph.verify import requantize_range


def branch(scale: list[float], bias: list[float], reach: int = 5000, frac: int = 5) -> Branch:
    n = len(scale)
    tensor = Tensor("acc", (2, 2, n), -reach, reach, frac)
    lo, hi = np.full(n, -reach), np.full(n, reach)
    return Branch(tensor, lo, hi, "bn", np.array(scale), np.array(bias))


def identity(channels: int, frac: int = 5) -> Branch:
    tensor = Tensor("q", (2, 2, channels), 0, 127, frac)
    return Branch(tensor, np.zeros(channels, np.int64), np.full(channels, 127))


def test_integers_are_the_rounded_scale_and_bias() -> None:
    scale, bias = [0.013, -0.002, 0.5], [0.25, -1.5, 3.0]
    chosen = formats.choose("act", "act", [branch(scale, bias)], out_frac=5)
    (scale_frac,) = chosen.scale_frac
    assert scale_frac == chosen.sum_frac + 16 - 5
    assert chosen.node.shift == chosen.sum_frac - 5
    assert chosen.node.multipliers[0].tolist() == [round(s * 2**scale_frac) for s in scale]
    assert chosen.node.bias.tolist() == [round(b * 2**chosen.sum_frac) for b in bias]


@pytest.mark.parametrize("seed", range(30))
def test_one_more_fraction_bit_would_not_fit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = rng.uniform(-1, 1, 6) * 2.0 ** rng.integers(-14, 4)
    bias = rng.normal(size=6) * 2.0 ** rng.integers(-6, 8)
    given = branch(list(scale), list(bias), int(rng.integers(1, 70000)), int(rng.integers(2, 8)))
    chosen = formats.choose("act", "act", [given], out_frac=int(rng.integers(0, 6)))
    assert 0 <= chosen.node.shift <= 16
    ranges = [(given.lo, given.hi)]
    requantize_range(chosen.node, ranges)  # proves int32, raises when not
    if chosen.node.shift == 16:
        return
    more = chosen.sum_frac + 1
    m = scale * 2.0 ** (more + 16 - given.tensor.frac_bits)
    peak = np.abs(m) / 65536 * given.hi.max() + np.abs(bias) * 2.0**more + 2.0**chosen.node.shift
    assert max(np.abs(m).max(), peak.max()) > 2.0**31 - 3


def test_typical_multipliers_have_fifteen_significant_bits() -> None:
    chosen = formats.choose("act", "act", [branch([0.004, 0.02], [1.0, -2.0], 18000)], out_frac=5)
    assert chosen.significant_bits >= 15


def test_an_activation_is_added_exactly() -> None:
    chosen = formats.choose("act", "act", [branch([0.01] * 3, [0.0] * 3), identity(3)], out_frac=5)
    m = int(chosen.node.multipliers[1, 0])
    assert m == 1 << (16 + chosen.sum_frac - 5) and chosen.scale_frac[1] is None
    q = np.arange(128)
    np.testing.assert_array_equal((q * m) >> 16, q << (chosen.sum_frac - 5))


def test_scores_have_no_shift_and_their_range_is_proved() -> None:
    chosen = formats.choose("bn", "bn", [branch([0.01, -0.02], [1.0, 2.0])], out_frac=None)
    assert chosen.node.scores and chosen.node.shift == 0
    low, high = requantize_range(chosen.node, [(np.full(2, -5000), np.full(2, 5000))])
    assert (chosen.lo, chosen.hi) == (low.min(), high.max())


@pytest.mark.parametrize("what", ["scale", "bias"])
def test_what_does_not_fit_names_the_channel(what: str) -> None:
    scale, bias = [0.01, 0.01, 0.01], [0.0, 0.0, 0.0]
    (scale if what == "scale" else bias)[1] = 1e9
    with pytest.raises(ConvertError, match="channel 1"):
        formats.choose("act", "act", [branch(scale, bias)], out_frac=5)


def test_types_are_written_as_hls4ml_reads_them() -> None:
    assert formats.signed(32, 33, ",RND") == "fixed<32,-1,RND>"
    assert formats.unsigned(7, 5) == "ufixed<7,2>"
    assert [formats.sum_width(*r) for r in ((-128, 127), (-129, 0), (0, 128), (0, 0))] == [
        8, 9, 9, 1,
    ]  # fmt: skip


def test_values_are_taken_as_hls4ml_prints_them() -> None:
    value = np.array([0.0004996])
    assert formats.as_written(value, 3)[0] == 0.0
    assert formats.as_written(value, 30)[0] == value[0]
