"""Damaged and hostile .tflite files give one clear error: never a crash, a hang or much memory."""

from __future__ import annotations

import random
import struct
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import run_apart
from tests.golden.make_tflite_golden import FILE
from tests.patience import PATIENCE_S
from tests.tflite_models import Op, T, constant, write
from tinyrobust.errors import ConvertError
from tinyrobust.tflite import importer as tflite

ROOT = Path(__file__).parents[2]
WORDS = (0, 1, 2, 4, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0)


def models() -> list[bytes]:
    with np.load(FILE, allow_pickle=False) as archive:
        return [bytes(archive[k]) for k in archive.files if k.endswith("/0/model")]


MODELS = models()
# By number: hypothesis prints what it draws.
model_numbers = st.integers(0, len(MODELS) - 1)


def sound_or_refused(data: bytes) -> bool:
    """True when ``data`` is accepted; anything but a ConvertError fails the test."""
    start = time.process_time()  # how busy the machine is does not matter
    try:
        tflite.from_bytes(data, name="fuzz")
    except ConvertError as error:
        assert 10 < len(error.message) < 100_000
        return False
    finally:
        assert time.process_time() - start < 5
    return True


def test_the_models_are_accepted() -> None:
    assert len(MODELS) >= 30 and all(sound_or_refused(data) for data in MODELS)


@settings(max_examples=50, deadline=None)
@given(model_numbers, st.data())
def test_truncated(number: int, data: st.DataObject) -> None:
    model = MODELS[number]
    sound_or_refused(model[: data.draw(st.integers(0, len(model) - 1))])


@settings(max_examples=100, deadline=None)
@given(model_numbers, st.data())
def test_flipped_bits(number: int, data: st.DataObject) -> None:
    model = MODELS[number]
    damaged = bytearray(model)
    for bit in data.draw(st.lists(st.integers(64, 8 * len(model) - 1), min_size=1, max_size=8)):
        damaged[bit // 8] ^= 1 << bit % 8
    sound_or_refused(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(model_numbers, st.data())
def test_other_words(number: int, data: st.DataObject) -> None:
    model = MODELS[number]
    damaged = bytearray(model)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(2, len(model) // 4 - 1)) * 4
        struct.pack_into("<I", damaged, at, data.draw(st.sampled_from(WORDS)))
    sound_or_refused(bytes(damaged))


@settings(max_examples=40, deadline=None)
@given(model_numbers, model_numbers, st.data())
def test_spliced(one: int, two: int, data: st.DataObject) -> None:
    first, second = MODELS[one], MODELS[two]
    cut, start = (data.draw(st.integers(8, len(m) - 1)) for m in (first, second))
    sound_or_refused(first[:cut] + second[start:])


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=400))
def test_anything(tail: bytes) -> None:
    sound_or_refused(b"\x10\x00\x00\x00TFL3" + tail)


def peak_bytes(data: bytes) -> int:
    """Most memory that reading ``data``, which must be refused, takes."""
    tracemalloc.start()
    assert not sound_or_refused(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_many_tensors_on_one_vector_of_scales() -> None:
    shared = constant(np.ones((5_000, 1), np.int8), np.full(5_000, 0.1, np.float32))
    data = write([T((1, 4), 0.1), *[shared] * 5_000], [Op("RELU", [0], [0])], [0], [0])
    assert peak_bytes(data) < 32 << 20


def test_many_operators_on_one_buffer_of_weights() -> None:
    weights = constant(np.ones((1_000, 1_000), np.int8), 0.1, type="INT4")
    tensors = [T((1, 1_000), 0.1), weights, *(T((1, 1_000), 0.1) for _ in range(60))]
    options = {"FusedActivationFunction": 0}
    ops = [Op("FULLY_CONNECTED", [0, 1], [2 + i], "FullyConnectedOptions", options)
           for i in range(60)]  # fmt: skip
    assert peak_bytes(write(tensors, ops, [0], [2])) < 3 * tflite.MAX_CONSTANT_BYTES


def test_a_chain_of_too_many_operators() -> None:
    tensors = [T((1, 4), 0.1) for _ in range(3_001)]
    ops = [Op("RELU", [i], [i + 1]) for i in range(3_000)]
    with pytest.raises(ConvertError, match="3,000 operators, more than 2,000"):
        tflite.from_bytes(write(tensors, ops, [0], [3_000]), name="long")


@pytest.mark.slow
def test_many_mutations() -> None:
    """Twenty thousand files from a seed, several kinds of damage in each."""
    rng = random.Random(1)
    accepted = 0
    for _ in range(20_000):
        damaged = bytearray(rng.choice(MODELS))
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            kind = rng.randrange(4)
            at = rng.randrange(8, len(damaged) - 4)
            if kind == 0:
                damaged[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                struct.pack_into("<I", damaged, at // 4 * 4, rng.choice(WORDS))
            elif kind == 2:
                struct.pack_into("<I", damaged, at // 4 * 4, rng.randrange(len(damaged)))
            elif len(damaged) > 200:
                del damaged[at : at + rng.randrange(1, 40)]
        accepted += sound_or_refused(bytes(damaged))
    assert 0 < accepted < 20_000


@pytest.mark.slow
@pytest.mark.atheris
def test_atheris(tmp_path: Path) -> None:
    """Coverage-guided, from the golden models; a crash, a hang or much memory fails it."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for i, model in enumerate(MODELS):
        (corpus / f"model{i}.tflite").write_bytes(model)
    command = [sys.executable, "-m", "tests.fuzz.tflite_fuzzer", str(corpus), "-runs=20000",
               "-max_total_time=60", f"-timeout={PATIENCE_S}", "-rss_limit_mb=1024", "-seed=1",
               f"-artifact_prefix={tmp_path}/"]  # fmt: skip
    found = run_apart(command, ROOT)
    assert found.returncode == 0, found.stderr[-3000:]
    assert "Done" in found.stderr
