"""Training: from a recipe and a task to a ternary network in a folder.

Comes in: a ``Recipe`` and a ``Task``. Goes out: a folder with recipe.yaml, weights.npz,
training.json and curve.png, from which ``rebuild`` makes the QKeras model again, bit for bit.
TensorFlow is imported when one of these functions is first used.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tinyrobust.errors import TinyRobustError
from tinyrobust.train import keras2
from tinyrobust.train.folder import is_finished, is_resumable

keras2.choose()

if TYPE_CHECKING:
    from tinyrobust.train.layers import build_model
    from tinyrobust.train.loop import train
    from tinyrobust.train.trained import rebuild

__all__ = ["build_model", "is_finished", "is_resumable", "rebuild", "require", "train"]

_HOME = {"build_model": "layers", "rebuild": "trained", "train": "loop"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tinyrobust.train' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"tinyrobust.train.{_HOME[name]}"), name)


def require() -> None:
    """Raise TinyRobustError unless the training extra is installed."""
    needed = ("tensorflow", "qkeras", *(("tf_keras",) if keras2.needs_tf_keras() else ()))
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise TinyRobustError(
            f"training needs {' and '.join(missing)}, not installed here",
            "pip install 'tinyrobust[train]' with Python 3.10 to 3.13",
        )
