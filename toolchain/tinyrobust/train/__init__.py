"""Training: from a recipe and a task to a ternary network in a folder.

Comes in: a ``Recipe`` and a ``Task``. Goes out: a folder with recipe.yaml, weights.npz,
training.json and curve.png, from which ``rebuild`` makes the QKeras model again, bit for bit.
TensorFlow is imported when one of these functions is first used.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tinyrobust.errors import TinyRobustError
from tinyrobust.train.folder import is_finished, is_resumable

os.environ["TF_USE_LEGACY_KERAS"] = "0"  # 1 breaks QKeras on TensorFlow 2.15
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only

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
    missing = [name for name in ("tensorflow", "qkeras") if find_spec(name) is None]
    if missing:
        raise TinyRobustError(
            f"training needs {' and '.join(missing)}, not installed here",
            "pip install 'tinyrobust[train]' with Python 3.10 or 3.11",
        )
