"""What every task offers. Comes in: a split. Goes out: uint8 images and int64 labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Split = Literal["train", "test"]
Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class Task(Protocol):
    """A classification data set with a fixed train and test split."""

    @property
    def name(self) -> str:
        """The task's name, as in recipes and on the command line."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in label order."""

    def where(self) -> str | None:
        """Where ``load`` takes the data from, for people; None when it would have to download."""

    def load(self, split: Split, limit: int | None = None) -> tuple[Images, Labels]:
        """Images uint8 [N,H,W,C] and labels int64 [N]; the first ``limit`` ones if given.

        Raises TaskError when the data is missing or broken, with where to put the files.
        """


@dataclass(frozen=True)
class Perturbation:
    """Change of a recording before its features: a shift of up to ``shift_ms`` either way, and
    background noise with probability ``noise``."""

    shift_ms: int = 0
    noise: float = 0.0


@runtime_checkable
class Perturbing(Protocol):
    """A task whose training examples can be changed before their features are taken."""

    def perturbed(self, rows: Labels, how: Perturbation, random: np.random.Generator) -> Images:
        """The images of the train split's ``rows``, changed as ``how`` says, by ``random``."""


@runtime_checkable
class IntegerFeatures(Task, Protocol):
    """A task of recordings whose features can be taken from integers alone."""

    def in_integers(self) -> Task:
        """The same task with such features."""
