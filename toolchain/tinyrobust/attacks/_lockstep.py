"""ART's one-image attacks on many images at once: their questions are put together.

In: a Job and a function that attacks one image through an ART estimator. Out: the nearest success
per image. ART's decision-based attacks take one image after the other and ask about a few points
at a time, which leaves most of an oracle's throughput unused. Here every image has a thread; they
run strictly in turn, each until its next question; then all questions go to the Victim in one
call. As only one thread ever runs, and each gets numpy's global generator in its own state, the
result does not depend on timing.

A thread ends when its image's budget of queries is spent: asking for more raises inside ART.
Points that were asked before, and points that round to the same integers, cost nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _art
from tinyrobust.attacks._attack import Job
from tinyrobust.attacks._victim import Float64, Int64, UInt8
from tinyrobust.attacks._views import watched

_NOISE_STARTS = 5  # calls of as many draws
# Points that ART may look at for each one it may ask about: an end even where all are known.
_LOOKS = 8


class Spent(BaseException):
    """The budget of one image is used up (or the whole attack was given up)."""


Play = Callable[["Seat", Any, UInt8], None]


def lockstep(job: Job, budget: int, play: Play) -> npt.NDArray[np.uint8]:
    """``play(seat, estimator, start)`` for each image; the nearest images that succeeded.

    ``start`` is an image that is what the job wants already. Images for which there is none,
    neither noise nor another image of the job, are returned as they are.
    """
    inner, nearest = watched(job)
    with _art.seeded(job.rng):  # restores the global generator
        seats = [Seat(inner, i, budget, play) for i in range(len(job.images))]
        try:
            _rounds(inner, seats, budget)
        finally:
            for seat in seats:
                seat.give_up()
    return nearest.result(job)


def _rounds(job: Job, seats: list[Seat], budget: int) -> None:
    """Let every seat run to its next question, answer all of them, until nobody asks."""
    waiting = seats
    while True:
        for seat in waiting:
            seat.proceed()
        waiting = [seat for seat in waiting if seat.question is not None]
        if not waiting:
            return
        questions = [seat.question for seat in waiting]
        owners = np.repeat([s.owner for s in waiting], [len(q) for q in questions])  # type: ignore[arg-type]
        scores = job.victim.scores(np.concatenate(questions), owners)  # type: ignore[arg-type]
        ends = np.cumsum([len(q) for q in questions])[:-1]  # type: ignore[arg-type]
        for seat, answer in zip(waiting, np.split(scores, ends), strict=True):
            seat.answer = answer
        job.progress(min(1.0, float(job.victim.queries.mean()) / budget))


class Seat:
    """One image's thread, its budget, and its side of the conversation."""

    def __init__(self, job: Job, owner: int, budget: int, play: Play) -> None:
        self.owner = owner
        self.job = job
        self.question: UInt8 | None = None
        self.answer: Float64 | None = None
        self._play = play
        self._left = budget
        self._looks = _LOOKS * budget
        self._known: dict[bytes, Float64] = {}
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._stopped = False
        self._random = np.random.RandomState(int(job.rng.integers(1 << 32))).get_state()
        self._thread = threading.Thread(target=self._run, daemon=True)

    # -- called by the conductor -----------------------------------------------------------

    def proceed(self) -> None:
        """Run until the next question or the end; raises what went wrong inside."""
        np.random.set_state(self._random)
        if self._thread.ident is None:
            self._thread.start()
        self._go.release()
        self._back.acquire()
        self._random = np.random.get_state()
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        """End the thread, wherever it is."""
        if self._thread.is_alive():
            self._stopped = True
            self._go.release()
            self._thread.join()

    # -- called inside the thread ----------------------------------------------------------

    def scores(self, images: UInt8) -> Float64:
        """Scores of images of this seat's image; raises Spent when the budget does not do."""
        keys = [image.tobytes() for image in images]
        self._looks -= len(keys)
        new: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self._known:
                new.setdefault(key, i)
        asked = list(new.items())[: self._left]
        if asked:
            rows = self._ask(images[[i for _, i in asked]])
            self._known.update(zip((key for key, _ in asked), rows, strict=True))
            self._left -= len(asked)
        if len(asked) < len(new) or self._looks < 0:
            raise Spent
        return np.array([self._known[key] for key in keys])

    def _ask(self, images: UInt8) -> Float64:
        self.question = images
        self._back.release()
        self._go.acquire()
        self.question = None
        if self._stopped or self.answer is None:
            raise Spent
        answer, self.answer = self.answer, None
        return answer

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._stopped:
                start = self._start()
                if start is not None:
                    self._play(self, _art.estimator(_One(self), unit=1.0), start)
        except Spent:
            pass
        except BaseException as error:  # handed to the conductor, which raises it
            self._error = error
        self.question = None
        self._back.release()

    def _start(self) -> UInt8 | None:
        """Uniform noise that is what is wanted, else the nearest such image of the job's."""
        job, image = self.job, self.job.images[self.owner]
        low, high = job.victim.lo, job.victim.hi + 1
        for _ in range(_NOISE_STARTS):
            drawn = np.random.randint(low, high, (_NOISE_STARTS, *image.shape)).astype(np.uint8)
            hits = self._wanted(drawn)
            if hits.any():
                return np.asarray(drawn[hits][0])
        labels, mine = job.labels, job.aims[self.owner]
        fits = labels == mine if job.targets is not None else labels != mine
        others = np.flatnonzero(fits & (np.arange(len(labels)) != self.owner))
        if not others.size:
            return None
        gaps = job.images[others].astype(np.float64) - image
        near = others[np.argsort((gaps**2).reshape(len(others), -1).sum(axis=1))][:3]
        hits = self._wanted(job.images[near])
        return np.asarray(job.images[near][hits][0]) if hits.any() else None

    def _wanted(self, images: UInt8) -> npt.NDArray[np.bool_]:
        owners = np.full(len(images), self.owner)
        return self.job.reached(self.scores(images), owners)


class _One:
    """A Seat as the Victim that an ART estimator sees."""

    def __init__(self, seat: Seat) -> None:
        victim = seat.job.victim
        self._seat = seat
        self.input_shape, self.classes = victim.input_shape, victim.classes
        self.lo, self.hi = victim.lo, victim.hi

    @property
    def queries(self) -> Int64:
        raise NotImplementedError

    def begin(self, count: int) -> None:
        raise NotImplementedError

    def scores(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        return self._seat.scores(images)

    def loss_and_gradient(self, *_: Any) -> Any:
        raise NotImplementedError

    def logits(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        raise NotImplementedError

    def pull(self, *_: Any) -> Any:
        raise NotImplementedError

    def jacobian(self, *_: Any) -> Any:
        raise NotImplementedError
