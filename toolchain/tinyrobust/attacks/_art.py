"""The edge to the Adversarial Robustness Toolbox (ART): a Victim dressed as an ART classifier.

In: a Victim. Out: an ART estimator over float32 images, in the Victim's own units (0..255) or in
0..1, which rounds to integers before it asks the Victim, so that ART only ever sees the integer
model. ART draws from numpy's global generator; ``seeded`` sets and restores it.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._victim import Float64, Int64, UInt8, Victim
from tinyrobust.errors import TinyRobustError
from tinyrobust.twin.losses import cross_entropy


def check_installed(attack: str) -> None:
    """Raise TinyRobustError when ART is missing."""
    if importlib.util.find_spec("art") is None:
        raise TinyRobustError(
            f"attack '{attack}' needs the Adversarial Robustness Toolbox, which is not installed",
            "pip install 'tinyrobust[attacks]', or replay a saved set with --adversarial FILE.npz",
        )


def version() -> str | None:
    """ART's version, None when it is not installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("adversarial-robustness-toolbox")
    except PackageNotFoundError:
        return None


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """Numpy's global generator seeded from ``rng`` inside, and as it was after."""
    before = np.random.get_state()
    np.random.seed(int(rng.integers(1 << 32)))
    try:
        yield
    finally:
        np.random.set_state(before)


def one_hot(labels: Int64, classes: int) -> Float64:
    """Labels (N,) as ART wants them, (N, classes)."""
    return np.eye(classes)[labels]


def art_norm(norm: str) -> float:
    """ART's word for a norm."""
    return np.inf if norm == "linf" else 2


def estimator(
    victim: Victim,
    on_gradient: Callable[[], None] = lambda: None,
    *,
    temperature: float = 1.0,
    unit: float = 1.0,
    finished: Callable[[Float64], Any] | None = None,
    logits: bool = False,
) -> Any:
    """An ART classifier with loss and class gradients over ``victim``; ``on_gradient`` after each.

    ``temperature`` divides the logits in the loss; ``unit`` pixel values are 1 in ART's images.
    ``finished(scores)`` says which images need no class gradients any more: they get zeros.
    ``logits``: predict those rather than scores.
    """
    return _estimator_class()(victim, on_gradient, temperature, unit, finished, logits)


@cache
def _estimator_class() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # ART warns that PyTorch, which it does not need, is not here
        from art.estimators import BaseEstimator, LossGradientsMixin, NeuralNetworkMixin
        from art.estimators.classification.classifier import (
            ClassGradientsMixin,
            ClassifierMixin,
        )

    class VictimEstimator(  # type: ignore[misc]
        ClassGradientsMixin, ClassifierMixin, LossGradientsMixin, NeuralNetworkMixin, BaseEstimator
    ):
        """ART's view of a Victim."""

        estimator_params: tuple[str, ...] = ()

        def __init__(
            self, victim: Victim, on_gradient: Callable[[], None], temperature: float, unit: float,
            finished: Callable[[Float64], Any] | None, logits: bool,
        ) -> None:  # fmt: skip
            clip = victim.lo / unit, victim.hi / unit
            super().__init__(model=None, clip_values=clip, channels_first=False)
            self._victim = victim
            self._on_gradient = on_gradient
            self._temperature = temperature
            self._unit = unit
            self._finished = finished
            self._memory = _Memory(victim.logits if logits else victim.scores)
            self.nb_classes = victim.classes

        @property
        def input_shape(self) -> tuple[int, ...]:
            return self._victim.input_shape

        def predict(
            self, x: npt.NDArray[Any], batch_size: int = 128, **kwargs: Any
        ) -> npt.NDArray[Any]:
            return self._memory.scores(self._integers(x))

        def loss_gradient(
            self, x: npt.NDArray[Any], y: npt.NDArray[Any], **kwargs: Any
        ) -> npt.NDArray[Any]:
            loss = cross_entropy(y.argmax(axis=1), self._temperature)
            made = self._victim.pull(self._integers(x), loss, None)
            self._on_gradient()
            return made.gradient * self._unit

        def class_gradient(
            self, x: npt.NDArray[Any], label: Any = None, **kwargs: Any
        ) -> npt.NDArray[Any]:
            """(N, K, H, W, C), or (N, 1, H, W, C) of the class ``label`` (one, or N of them)."""
            images = self._integers(x)
            if label is None:
                found = np.zeros((len(images), self.nb_classes, *images.shape[1:]))
                todo = np.arange(len(images))
                if self._finished is not None:
                    todo = np.flatnonzero(~self._finished(self._memory.scores(images)))
                if todo.size:
                    found[todo] = self._victim.jacobian(images[todo], todo)[1]
                self._on_gradient()
                return found * self._unit
            wanted = np.broadcast_to(np.asarray(label, np.int64), len(images))

            def one(logits: Float64, where: slice) -> tuple[Float64, Float64]:
                rows, flow = np.arange(len(logits)), np.zeros(logits.shape)
                flow[rows, wanted[where]] = 1.0
                return logits[rows, wanted[where]], flow

            made = self._victim.pull(images, one, None)
            self._on_gradient()
            return made.gradient[:, None] * self._unit

        def _integers(self, x: npt.NDArray[Any]) -> UInt8:
            scaled = np.rint(np.asarray(x, np.float64) * self._unit)
            return np.clip(scaled, self._victim.lo, self._victim.hi).astype(np.uint8)

        def fit(self, *args: Any, **kwargs: Any) -> None:
            raise NotImplementedError

        def get_activations(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    return VictimEstimator


class _Memory:
    """The scores of the last few calls by image, so that ART's repeated questions cost nothing.

    Only new images reach the Victim and its meter.
    """

    def __init__(self, ask: Callable[[UInt8, Int64], Float64]) -> None:
        self._ask = ask
        self._calls: deque[dict[bytes, tuple[int, Float64]]] = deque(maxlen=4)
        self._owners: list[int] = []

    def scores(self, images: UInt8) -> Float64:
        keys = [image.tobytes() for image in images]
        known = [self._find(key) for key in keys]
        new = [i for i, found in enumerate(known) if found is None]
        # A call of equal length holds new versions of the same images, in the same order.
        same = len(self._owners) == len(keys)
        if new:
            owners = np.array([self._owners[i] if same else i for i in new], np.int64)
            fresh = self._ask(images[new], owners)
            for i, owner, row in zip(new, owners, fresh, strict=True):
                known[i] = (int(owner), row)
        found = [entry for entry in known if entry is not None]
        self._calls.appendleft(dict(zip(keys, found, strict=True)))
        self._owners = [owner for owner, _ in found]
        return np.array([row for _, row in found])

    def _find(self, key: bytes) -> tuple[int, Float64] | None:
        return next((call[key] for call in self._calls if key in call), None)
