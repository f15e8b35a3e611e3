"""The Keras 2 that QKeras is written for: TensorFlow's own up to 2.15, tf_keras behind it.

TensorFlow reads ``TF_USE_LEGACY_KERAS`` when it is imported, and the two need opposite values: set
to 1, QKeras breaks on TensorFlow 2.15, and without it TensorFlow 2.16 and later give Keras 3.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib import metadata

_KERAS3 = (2, 16)  # the first TensorFlow whose Keras is version 3


def tensorflow_version() -> str:
    """The version of the installed TensorFlow, "" without one; does not import it."""
    for name in ("tensorflow", "tensorflow-cpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def needs_tf_keras() -> bool:
    """Whether TensorFlow's own Keras is version 3."""
    numbers = tensorflow_version().split(".")
    return len(numbers) > 1 and (int(numbers[0]), int(numbers[1])) >= _KERAS3


def choose() -> None:
    """Set the environment for the TensorFlow that is installed, before it is imported."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1" if needs_tf_keras() else "0"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only


@contextlib.contextmanager
def as_keras() -> Iterator[None]:
    """``import keras`` gives Keras 2 inside: hls4ml chooses its reader by ``keras.__version__``."""
    if not needs_tf_keras():
        yield
        return
    import tf_keras

    own = sys.modules.get("keras")
    sys.modules["keras"] = tf_keras
    try:
        yield
    finally:
        if own is None:
            del sys.modules["keras"]
        else:
            sys.modules["keras"] = own
