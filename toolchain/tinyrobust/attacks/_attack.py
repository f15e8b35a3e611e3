"""The contract of every attack, kept in one place.

In: a Victim, images, labels, size, seed, settings. Out: Crafted. The base class skips images that
are misclassified already, derives the seed and the targets, rounds to the input's integers within
the size and the valid range, checks that, and asks the Victim what it now sees.

A subclass of ``Attack`` looks for images within a size. One of ``MinimumNorm`` looks for the
nearest image that succeeds, whatever its size; it succeeds at a size when its norm, after rounding,
is within it.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._norms import NORMS, distance, into_ball, within
from tinyrobust.attacks._victim import Float64, Int64, UInt8, Victim
from tinyrobust.errors import TinyRobustError

Bool = npt.NDArray[np.bool_]
Progress = Callable[[float], None]  # called with the fraction done, 0..1


@dataclass(frozen=True)
class Settings:
    """How an attack is run; None is the attack's own default.

    ``norm``: "linf" or "l2". ``targeted``: each image gets a target class, drawn from the seed
    where ``run`` is not given them. ``steps`` of gradient, ``queries`` per image without gradient.
    ``surrogate``: the model, by name or path, whose gradients a transfer attack follows.
    """

    norm: str = "linf"
    targeted: bool = False
    steps: int | None = None
    queries: int | None = None
    surrogate: str | None = None


DEFAULTS = Settings()


@dataclass(frozen=True)
class Crafted:
    """What an attack made of N images.

    ``skipped``: misclassified before the attack, returned unchanged. ``success``: classified
    correctly before and wrongly (or as its target) after. ``queries``: images shown to the Victim
    by the attack, forward or with gradient, per image. ``linf`` and ``l2``: distance of the image
    that the attack found from the clean one, of 255; infinite where a MinimumNorm attack found
    none. ``moved``: that image is another one than the clean one. ``found``: a MinimumNorm
    attack's nearest image, whatever its size. ``after``: by numbers of queries, how far its nearest
    success was then, in the settings' norm, infinite where there was none. ``log``: what the attack
    did, as plain data.
    """

    images: UInt8
    success: Bool
    skipped: Bool
    queries: Int64
    linf: Float64
    l2: Float64
    moved: Bool
    targets: Int64 | None = None
    found: UInt8 | None = None
    after: Mapping[int, Float64] = field(default_factory=dict)
    log: tuple[dict[str, Any], ...] = ()

    @property
    def did_not_move(self) -> int:
        """Attacked images that the attack left as they were."""
        return int((~self.moved & ~self.skipped).sum())


@dataclass(frozen=True)
class Job:
    """One call of ``craft``: correctly classified ``images`` and what is wanted of them."""

    victim: Victim
    images: UInt8
    labels: Int64
    targets: Int64 | None
    eps_255: float
    settings: Settings
    rng: np.random.Generator
    progress: Progress
    log: list[dict[str, Any]] = field(default_factory=list)
    after: dict[int, Float64] = field(default_factory=dict)

    @property
    def norm(self) -> str:
        """``"linf"`` or ``"l2"``."""
        return self.settings.norm

    @property
    def aims(self) -> Int64:
        """The targets, or, untargeted, the labels to get away from."""
        return self.labels if self.targets is None else self.targets

    def reached(self, scores: npt.NDArray[Any], owners: Int64 | None = None) -> Bool:
        """Which rows of ``scores`` (N, K), of the images ``owners``, are what is wanted."""
        aims = self.aims if owners is None else self.aims[owners]
        hit = scores.argmax(axis=1) == aims
        return np.asarray(~hit if self.targets is None else hit)

    def margin(self, scores: Float64, owners: Int64 | None = None) -> Float64:
        """How far each row is from what is wanted; negative once it is there."""
        aims = self.aims if owners is None else self.aims[owners]
        rows = np.arange(len(scores))
        others = scores.copy()
        others[rows, aims] = -np.inf
        ahead = scores[rows, aims] - others.max(axis=1)
        return np.asarray(ahead if self.targets is None else -ahead)


class Attack(ABC):
    """An attack within a size. Subclasses state what they are and write ``craft``."""

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    kind: ClassVar[str]  # "white-box", "black-box", "transfer" or "floor"
    strong: ClassVar[bool] = False  # expected to beat every black-box attack of its size
    verifies: ClassVar[bool] = False  # slow, for what the strong ones leave
    iterative: ClassVar[bool] = True  # more than one step
    minimum: ClassVar[bool] = False  # a MinimumNorm
    random: ClassVar[bool] = True  # another seed may give another result
    needs_art: ClassVar[bool] = False
    needs_surrogate: ClassVar[bool] = False
    norms: ClassVar[tuple[str, ...]] = NORMS
    can_target: ClassVar[bool] = True
    steps: ClassVar[int | None] = None  # defaults; None: the attack has no such setting
    queries: ClassVar[int | None] = None

    @abstractmethod
    def craft(self, job: Job) -> npt.NDArray[Any]:
        """Perturbed images (N, H, W, C), any real dtype, of the job's images.

        They are rounded and clipped afterwards; ``job.rng`` is the only source of randomness.
        """

    @abstractmethod
    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        """Everything but images, size and seed that the result depends on, as plain data."""

    def describe(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        """``parameters``, and what of the settings they leave out."""
        found = self.parameters(eps_255, settings)
        if settings.norm != "linf":
            found["norm"] = settings.norm
        if settings.targeted and self.can_target:
            found["targeted"] = "a random other class per image, from the seed"
        return found

    def check_available(self, settings: Settings = DEFAULTS) -> None:
        """Raise TinyRobustError when a package, a surrogate or an ability is missing."""
        if self.needs_art:
            from tinyrobust.attacks import _art

            _art.check_installed(self.name)
        if settings.norm not in self.norms:
            raise TinyRobustError(
                f"attack '{self.name}' knows no norm '{settings.norm}'",
                f"it knows {', '.join(self.norms)}",
            )
        if settings.targeted and not self.can_target:
            raise TinyRobustError(
                f"attack '{self.name}' cannot be targeted", "leave it or --targeted out"
            )
        if self.needs_surrogate and settings.surrogate is None:
            raise TinyRobustError(
                f"attack '{self.name}' needs a surrogate model whose gradients it follows",
                "give one: --surrogate NAME|FILE",
            )

    def run(
        self,
        victim: Victim,
        images: UInt8,
        labels: Int64,
        *,
        eps_255: float,
        seed: int,
        first: int = 0,
        progress: Progress = lambda fraction: None,
        settings: Settings = DEFAULTS,
        targets: Int64 | None = None,
    ) -> Crafted:
        """Attack ``images`` uint8 (N, H, W, C) with perturbations of at most ``eps_255``/255.

        ``first``: position of the first image in a larger set, so that batches differ in their
        randomness. ``targets`` (N,): classes to reach, for targeted settings; drawn when not given.
        The result is a function of the arguments alone. Raises TinyRobustError for a size that no
        image can have (Linf beyond 255), for settings that the attack does not know, or when a
        subclass returns something that is not N images.
        """
        most = 255.0 if settings.norm == "linf" else 255.0 * float(np.prod(images.shape[1:])) ** 0.5
        if not 0 <= eps_255 <= most:
            raise TinyRobustError(
                f"eps {eps_255:g} is not in 0..{most:.0f}", "give eps in 1/255, as 2 or 8"
            )
        self.check_available(settings)
        clean = _predict(victim, images)
        skipped = clean != labels
        todo = np.flatnonzero(~skipped)
        rng = np.random.default_rng(self._seed(seed, first, eps_255, settings))
        if settings.targeted and targets is None:
            offsets = rng.integers(1, victim.classes, len(labels))
            targets = np.asarray((labels + offsets) % victim.classes, np.int64)
        targets = targets if settings.targeted else None
        made, queries = images.copy(), np.zeros(len(images), np.int64)
        log: list[dict[str, Any]] = []
        after: dict[int, Float64] = {}
        if todo.size and (eps_255 or self.minimum):
            victim.begin(len(todo))
            aims = None if targets is None else targets[todo]
            job = Job(
                victim, images[todo], labels[todo], aims, eps_255, settings, rng, progress, log
            )
            found = self._checked(self.craft(job), job)
            queries[todo] = victim.queries
            made[todo] = self._round(found, job)
            for count, far in job.after.items():
                after[count] = np.full(len(images), np.inf)
                after[count][todo] = far
        crafted = self._judge(victim, images, labels, made, skipped, targets, eps_255, settings)
        progress(1.0)
        return Crafted(
            **crafted, skipped=skipped, queries=queries, targets=targets, after=after,
            log=tuple(log),
        )  # fmt: skip

    def _seed(self, seed: int, first: int, eps_255: float, settings: Settings) -> list[int]:
        whole = int(eps_255) if eps_255 == int(eps_255) else round(eps_255 * 4096)
        parts = [seed, first, zlib.crc32(self.name.encode()), whole]
        extra = [NORMS.index(settings.norm), int(settings.targeted)]
        return parts + extra if any(extra) else parts

    def _checked(self, made: npt.NDArray[Any], job: Job) -> npt.NDArray[Any]:
        if made.shape != job.images.shape or not np.isfinite(made).all():
            raise TinyRobustError(
                f"attack '{self.name}' returned {made.shape} for images {job.images.shape}, "
                "or values that are not finite",
                "the attack's craft() must return one finite image for each image",
            )
        return made

    def _round(self, made: npt.NDArray[Any], job: Job) -> UInt8:
        victim = job.victim
        rounded = into_ball(made, job.images, job.eps_255, job.norm, victim.lo, victim.hi)
        if not within(rounded, job.images, job.eps_255, victim.lo, victim.hi, job.norm):
            raise AssertionError(f"attack '{self.name}': rounding left the norm")
        return rounded

    def _judge(
        self, victim: Victim, images: UInt8, labels: Int64, made: UInt8, skipped: Bool,
        targets: Int64 | None, eps_255: float, settings: Settings,
    ) -> dict[str, Any]:  # fmt: skip
        return {
            "images": made, "success": ~skipped & _succeeds(victim, made, labels, targets),
            "linf": distance(made, images, "linf"), "l2": distance(made, images, "l2"),
            "moved": (made != images).reshape(len(images), -1).any(axis=1),
        }  # fmt: skip


class MinimumNorm(Attack):
    """An attack that looks for the nearest image that succeeds; ``craft`` returns uint8 images,
    the clean one where it found none. Distances are in the settings' norm."""

    minimum = True

    def at(self, made: Crafted, images: UInt8, eps_255: float, norm: str) -> tuple[UInt8, Bool]:
        """``made`` at another size: its images there (clean where beyond), and the successes."""
        assert made.found is not None
        inside = (made.linf if norm == "linf" else made.l2) <= eps_255
        chosen = inside.reshape(-1, *[1] * (images.ndim - 1))
        return np.where(chosen, made.found, images), inside & ~made.skipped

    def _seed(self, seed: int, first: int, eps_255: float, settings: Settings) -> list[int]:
        return super()._seed(seed, first, 0, settings)  # one search serves every size

    def _round(self, made: npt.NDArray[Any], job: Job) -> UInt8:
        return np.asarray(np.clip(np.rint(made), job.victim.lo, job.victim.hi), np.uint8)

    def _judge(
        self, victim: Victim, images: UInt8, labels: Int64, made: UInt8, skipped: Bool,
        targets: Int64 | None, eps_255: float, settings: Settings,
    ) -> dict[str, Any]:  # fmt: skip
        moved = (made != images).reshape(len(images), -1).any(axis=1)
        works = moved & ~skipped & _succeeds(victim, made, labels, targets)
        norms = {n: np.where(works, distance(made, images, n), np.inf) for n in NORMS}
        inside = works & (norms[settings.norm] <= eps_255)
        chosen = inside.reshape(-1, *[1] * (images.ndim - 1))
        return {
            "images": np.where(chosen, made, images), "success": inside, "moved": moved,
            "found": made, **norms,
        }  # fmt: skip


def _predict(victim: Victim, images: UInt8) -> Int64:
    victim.begin(len(images))
    return np.asarray(victim.scores(images).argmax(axis=1), np.int64)


def _succeeds(victim: Victim, images: UInt8, labels: Int64, targets: Int64 | None) -> Bool:
    predicted = _predict(victim, images)
    return np.asarray(predicted != labels if targets is None else predicted == targets)
