"""Generated text: packing, escaping, and equal text for equal plans."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import random_graph, resnet8_graph, tiny_graph
from tinyrobust import boards, codegen, memory
from tinyrobust.codegen import text
from tinyrobust.codegen.packers import lists, shared_lists, t2_rows
from tinyrobust.errors import BuildError
from tinyrobust.kernels import candidates, predict


def decode(word: int) -> list[int]:
    """The sixteen trits of a word, in input order, as t2.hpp says."""
    found = []
    for quad in range(4):
        low = [(word >> (4 * quad + shift)) & 3 for shift in (0, 2)]
        high = [(word >> (16 + 4 * quad + shift)) & 3 for shift in (0, 2)]
        found += [low[0] - 1, low[1] - 1, high[0] - 1, high[1] - 1]
    return found


@pytest.mark.parametrize(
    "shape", [(2, 16), (3, 21), (1, 1), (4, 3, 3, 3), (2, 3, 3, 16), (5, 1, 1, 7), (2, 2, 5, 6)]
)
def test_packed_weights_read_back(shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).integers(-1, 2, shape).astype(np.int8)
    words = t2_rows.pack(weights)
    assert words.dtype == np.uint32 and words.size % shape[0] == 0
    per_output = words.reshape(shape[0], -1)
    rows = weights.reshape(shape[0], shape[1] if len(shape) == 4 else 1, -1)
    for output, kernel_rows in zip(per_output, rows, strict=True):
        trits = [t for word in output.tolist() for t in decode(word)]
        expected: list[int] = []
        for row in kernel_rows.tolist():
            expected += row + [0] * (-len(row) % 4)
        assert trits[: len(expected)] == expected
        assert not any(trits[len(expected) :])


def test_lists_name_every_tap_once() -> None:
    weights = np.random.default_rng(1).integers(-1, 2, (5, 3, 2, 7)).astype(np.int8)
    weights[3] = 0
    words = lists.pack(weights).tolist()
    for row in weights.reshape(5, -1):
        np.testing.assert_array_equal(read_row(words, row.size), row)
    assert not words


def test_shared_lists_give_both_channels_back() -> None:
    weights = np.random.default_rng(2).integers(-1, 2, (7, 3, 2, 7)).astype(np.int8)
    words = shared_lists.pack(weights).tolist()
    rows = weights.reshape(7, -1)
    for first, second in zip(rows[0:6:2], rows[1:6:2], strict=True):
        equal, opposite, own, other = (read_row(words, first.size) for _ in range(4))
        np.testing.assert_array_equal(equal + opposite + own, first)
        np.testing.assert_array_equal(equal - opposite + other, second)
        assert not np.any(equal * opposite) and not np.any(own * other)
    np.testing.assert_array_equal(read_row(words, first.size), rows[6])
    assert not words


def read_row(words: list[int], taps: int) -> np.ndarray:
    """Take one row off ``words``: the weight of every tap, as lists.hpp says."""
    found = np.zeros(taps + 1, np.int64)  # one more: the tap of zeros
    count = words.pop(0)
    for sign, pairs in ((-1, count & 0xFFFF), (1, count >> 16)):
        for _ in range(pairs):
            word = words.pop(0)
            found[(word & 0xFFFF) // 8] += sign
            found[(word >> 16) // 8] += sign
    return found[:-1]


@pytest.mark.parametrize("graph", [resnet8_graph(), random_graph(3)], ids=["resnet8", "random3"])
def test_predicted_flash_is_what_is_generated(graph: object) -> None:
    packers = {"t2_rows": t2_rows, "lists": lists, "shared_lists": shared_lists}
    plan = memory.plan(graph, boards.load("nucleo-h743"))  # type: ignore[arg-type]
    for layer, step in zip(plan.layers, plan.steps, strict=True):
        for kernel in candidates(layer, plan.graph, "cortex-m7"):
            packing = packers.get(kernel.file.packing or "")
            if packing is not None:
                cost = predict(kernel, layer, plan.graph, "cortex-m7")
                assert packing.pack(layer.node.arrays["weights"]).nbytes == cost.flash_weights
                assert kernel.id != step.kernel or cost.flash_weights == step.flash_weights


def test_equal_plans_give_equal_text() -> None:
    first = codegen.generate(memory.plan(tiny_graph(), boards.load("nucleo-h743")))
    second = codegen.generate(memory.plan(tiny_graph(), boards.load("nucleo-h743")))
    assert first.files == second.files
    assert tiny_graph().sha256 in first.files["model.cpp"].splitlines()[0]
    names = [s["name"] for s in first.steps]
    own = [name for name in names if "@" not in name]
    assert own == ["input", "conv1", "pool3", "conv4", "average", "dense7"]


def test_names_cannot_leave_their_string() -> None:
    assert text.string('a"b') == r'"a\042b"'
    assert text.string("a\\n\n") == r'"a\134n\012"'
    assert text.string("é") == r'"\303\251"'
    assert text.string("??/") == r'"\077\077/"'  # no trigraphs


def test_the_smallest_int32_is_a_valid_literal() -> None:
    values = np.array([-(1 << 31), 5], np.int32)
    assert "-2147483647 - 1, 5" in text.array("TR_TABLES", "int32_t", "x", values)


def test_an_unknown_packing_is_a_build_error() -> None:
    from tinyrobust.codegen.generate import _packer

    with pytest.raises(BuildError) as caught:
        _packer("t3_rows")
    assert "t2_rows" in str(caught.value)
