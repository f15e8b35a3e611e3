"""Views of a Victim: some of the images under attack, and a memory of the nearest success.

In: a Job. Out: a Job whose Victim counts for the right images, whatever part of them is shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyrobust.attacks._attack import Job, Progress
from tinyrobust.attacks._norms import distance
from tinyrobust.attacks._victim import Float64, Int64, UInt8, Victim
from tinyrobust.twin.losses import Loss, Pulled, cross_entropy

MILESTONES = (100, 1000, 5000)  # queries after which a search tells how near it has come
_SPENT = 0.9  # the part of a milestone that some image must have spent for it to count


class Part:
    """A Victim that numbers the images ``index`` of another one from 0 on."""

    def __init__(self, victim: Victim, index: Int64) -> None:
        self._victim = victim
        self._index = index
        self.input_shape, self.classes = victim.input_shape, victim.classes
        self.lo, self.hi = victim.lo, victim.hi

    @property
    def queries(self) -> Int64:
        """See Victim."""
        return self._victim.queries[self._index]

    def begin(self, count: int) -> None:
        """A part has no meter of its own."""
        raise NotImplementedError

    def scores(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        """See Victim."""
        return self._victim.scores(images, self._owners(images, owners))

    def loss_and_gradient(
        self, images: UInt8, labels: Int64, temperature: float = 1.0
    ) -> tuple[Float64, Float64]:
        """See Victim."""
        made = self.pull(images, cross_entropy(labels, temperature))
        return made.loss, made.gradient

    def pull(
        self, images: UInt8, loss: Loss, owners: Int64 | None = None, leak: float = 0.0
    ) -> Pulled:
        """See Victim."""
        return self._victim.pull(images, loss, self._owners(images, owners), leak)

    def logits(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        """See Victim."""
        return self._victim.logits(images, self._owners(images, owners))

    def jacobian(self, images: UInt8, owners: Int64 | None = None) -> tuple[Float64, Float64]:
        """See Victim."""
        return self._victim.jacobian(images, self._owners(images, owners))

    def _owners(self, images: UInt8, owners: Int64 | None) -> Int64:
        if owners is None and len(images) != len(self._index):
            raise ValueError(f"{len(images)} images of {len(self._index)}: whose are they?")
        return self._index if owners is None else self._index[owners]


def part(job: Job, index: Int64, progress: Progress | None = None) -> Job:
    """The job for its images ``index`` alone."""
    return dataclasses.replace(
        job, victim=Part(job.victim, index), images=job.images[index], labels=job.labels[index],
        targets=None if job.targets is None else job.targets[index],
        progress=progress or job.progress,
    )  # fmt: skip


class Nearest(Part):
    """Remembers, of all images shown, the nearest one that is what the job wants."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.victim, np.arange(len(job.images)))
        self._job = job
        self.images = job.images.copy()
        self.distance = np.full(len(job.images), np.inf)
        self._after = {count: self.distance.copy() for count in MILESTONES}

    def scores(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        """See Victim."""
        found = super().scores(images, owners)
        self._keep(images, owners, found)
        return found

    def pull(
        self, images: UInt8, loss: Loss, owners: Int64 | None = None, leak: float = 0.0
    ) -> Pulled:
        """See Victim."""
        found = super().pull(images, loss, owners, leak)
        self._keep(images, owners, found.logits)
        return found

    def jacobian(self, images: UInt8, owners: Int64 | None = None) -> tuple[Float64, Float64]:
        """See Victim."""
        found = super().jacobian(images, owners)
        self._keep(images, owners, found[0])
        return found

    def result(self, job: Job) -> UInt8:
        """The nearest successes; the clean image where there was none, which ``job`` logs; how near
        they were after MILESTONES queries goes into ``job.after``."""
        none = int((~np.isfinite(self.distance)).sum())
        if none:
            job.log.append({"did_not_move": none})
        spent = int(self.queries.max(initial=0))
        job.after.update({n: at for n, at in self._after.items() if n <= spent / _SPENT})
        return self.images

    def logits(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        """See Victim."""
        found = super().logits(images, owners)
        self._keep(images, owners, found)
        return found

    def _keep(self, images: UInt8, owners: Int64 | None, scores: Float64) -> None:
        job = self._job
        whose = np.arange(len(images)) if owners is None else owners
        hits = np.flatnonzero(job.reached(scores, whose))
        far = distance(images[hits], job.images[whose[hits]], job.norm)
        for hit, size in zip(hits, far, strict=True):
            owner = whose[hit]
            if 0 < size < self.distance[owner]:
                self.distance[owner] = size
                self.images[owner] = images[hit]
        queries = self.queries
        for count, at in self._after.items():
            here = queries <= count
            at[here] = self.distance[here]


class Closest(Part):
    """Remembers, of all images shown, the one with the least margin: nearest to what is wanted in
    scores, or there. Whoever shows images shows such as lie within the job's size."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.victim, np.arange(len(job.images)))
        self._job = job
        self.images = job.images.copy()
        self.margin = np.full(len(job.images), np.inf)
        self._there = np.zeros(len(job.images), bool)

    @property
    def left(self) -> Int64:
        """Images of which none that was shown is what is wanted."""
        return np.flatnonzero(~self._there)

    @property
    def broken(self) -> int:
        """How many are what is wanted."""
        return int(self._there.sum())

    def scores(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        """See Victim."""
        found = super().scores(images, owners)
        self._keep(images, owners, found)
        return found

    def pull(
        self, images: UInt8, loss: Loss, owners: Int64 | None = None, leak: float = 0.0
    ) -> Pulled:
        """See Victim."""
        found = super().pull(images, loss, owners, leak)
        self._keep(images, owners, found.logits)
        return found

    def _keep(self, images: UInt8, owners: Int64 | None, scores: Float64) -> None:
        job = self._job
        whose = np.arange(len(images)) if owners is None else owners
        margins, reached = job.margin(scores, whose), job.reached(scores, whose)
        for row, owner in enumerate(whose):
            if self._there[owner]:
                continue
            if reached[row] or margins[row] < self.margin[owner]:
                self.margin[owner] = margins[row]
                self.images[owner] = images[row]
                self._there[owner] = reached[row]


def closest(job: Job) -> tuple[Job, Closest]:
    """The job with a memory of its least margins."""
    memory = Closest(job)
    return dataclasses.replace(job, victim=memory), memory


def watched(job: Job) -> tuple[Job, Nearest]:
    """The job with a memory of its nearest successes."""
    nearest = Nearest(job)
    return dataclasses.replace(job, victim=nearest), nearest


def each_temperature(
    job: Job, factors: tuple[float | None, ...], attempt: Callable[[Job, float], Any]
) -> Any:
    """``attempt(job, temperature)`` -> images, once per temperature, on what has not succeeded yet.

    A factor None is temperature 1; another one is that times the mean margin between the two
    largest logits of the clean images: a scale at which the softmax is not saturated, whatever the
    scale of the logits. Temperatures within a quarter of one already tried are left out. The log
    says how many images each temperature broke first.
    """
    logits = job.victim.logits(job.images)
    top = np.sort(logits, axis=1)
    margin = float((top[:, -1] - top[:, -2]).mean())
    wanted = [1.0 if factor is None else max(factor * margin, 1e-3) for factor in factors]
    tried: list[float] = []
    for temperature in wanted:
        if all(abs(np.log(temperature / other)) > 0.25 for other in tried):
            tried.append(float(f"{temperature:.3g}"))
    made = job.images.astype(np.float64)
    left = np.arange(len(made))
    for done, temperature in enumerate(tried):
        if not left.size:
            break

        def progress(fraction: float, done: int = done) -> None:
            job.progress((done + fraction) / len(tried))

        some = part(job, left, progress)
        found = np.asarray(attempt(some, temperature), np.float64)
        whole = np.clip(np.rint(found), job.victim.lo, job.victim.hi).astype(np.uint8)
        reached = some.reached(some.victim.scores(whole))
        # Later temperatures replace only what did not succeed; the last word stays otherwise.
        made[left[reached]] = found[reached]
        if done == 0:
            made[left] = found
        job.log.append({
            "temperature": temperature, "tried": len(left), "broken": int(reached.sum()),
        })  # fmt: skip
        left = left[~reached]
    return made
