"""QKeras's Keras: the environment fits the TensorFlow that is installed, hls4ml sees Keras 2."""

from __future__ import annotations

import sys
import types

import pytest

from tinyrobust.train import keras2


@pytest.mark.parametrize(
    ("version", "wanted"),
    [("2.15.1", "0"), ("2.16.1", "1"), ("2.21.0", "1"), ("3.0.0", "1"), ("", "0")],
)
def test_tensorflow_is_told_before_it_is_imported(
    version: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "?")
    monkeypatch.setattr(keras2, "tensorflow_version", lambda: version)
    keras2.choose()
    assert keras2.os.environ["TF_USE_LEGACY_KERAS"] == wanted


def test_hls4ml_sees_keras_2_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    two, three = types.ModuleType("tf_keras"), types.ModuleType("keras")
    monkeypatch.setitem(sys.modules, "tf_keras", two)
    monkeypatch.setitem(sys.modules, "keras", three)
    monkeypatch.setattr(keras2, "tensorflow_version", lambda: "2.21.0")
    with pytest.raises(ValueError, match="inside"), keras2.as_keras():
        assert sys.modules["keras"] is two
        raise ValueError("inside")
    assert sys.modules["keras"] is three
    monkeypatch.setattr(keras2, "tensorflow_version", lambda: "2.15.1")
    with keras2.as_keras():
        assert sys.modules["keras"] is three
