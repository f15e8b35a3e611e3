"""What a training's folder says of itself, without TensorFlow.

In: the folder. Out: whether the training in it is whole, or can go on.
"""

from __future__ import annotations

from pathlib import Path


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a whole training."""
    return (folder / "training.json").exists()


def is_resumable(folder: Path) -> bool:
    """Whether the folder holds a checkpoint to go on from."""
    return (folder / "checkpoint.npz").exists()
