"""From what a user asks for to a Config with its images.

In: a Model, a built Image's hash, a task, sizes, names. Out: Prepared: Config, images, labels,
and the adversarial set to replay, if any. Every wrong wish is refused here, before any work.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust import attacks, tasks
from tinyrobust.artefact import sha256
from tinyrobust.attacks import Settings
from tinyrobust.convert.models import load_model
from tinyrobust.errors import TaskError, TinyRobustError
from tinyrobust.evaluate.adversarial import AdversarialSet, UInt8
from tinyrobust.evaluate.config import BATCH_IMAGES, Config, Series, generator
from tinyrobust.evaluate.oracles import fastest
from tinyrobust.graph.base import NO_TASK
from tinyrobust.graph.model import DEFAULT_MODEL, Model, zoo
from tinyrobust.graph.nodes import Graph
from tinyrobust.registry import nearest

DEFAULT_ATTACKS = ("pgd", "square")
WITHOUT_ART = ("noise", "apgd", "square")
DEFAULT_EPS = {"linf": (2, 8), "l2": (64, 128)}
SAVED_SET = "adversarial.npz"  # beside a zoo model


@dataclass(frozen=True)
class Wish:
    """What the user asked for; None where nothing was said."""

    task: str | None
    samples: int
    attacks: tuple[str, ...] | None
    eps: tuple[float, ...] | None
    seed: int
    adversarial: Path | None
    norm: str = "linf"
    targeted: bool = False
    steps: int | None = None
    queries: int | None = None
    surrogate: str | None = None
    oracle: str | None = None  # None: the fastest that is there
    batch_images: int = BATCH_IMAGES

    @property
    def settings(self) -> Settings:
        """How the attacks are run."""
        return Settings(self.norm, self.targeted, self.steps, self.queries, self.surrogate)


@dataclass(frozen=True)
class Prepared:
    """All that ``evaluate`` needs besides a device."""

    config: Config
    images: UInt8
    labels: Any
    replay: AdversarialSet | None
    notices: tuple[str, ...]


def choose_model(name: str | None, task: str | None) -> Model:
    """The model called ``name``, else the default one, else the zoo's first one for ``task``."""
    if name is not None or task is None:
        return load_model(name or DEFAULT_MODEL)
    models = [load_model(n) for n in sorted(zoo(), key=lambda n: (n != DEFAULT_MODEL, n))]
    for model in models:
        if model.graph.task == task:
            return model
    raise TaskError(
        f"the zoo has no model for task '{task}'", nearest(task, {m.graph.task for m in models})
    )


def prepare(model: Model, board: str, image_sha256: str, wish: Wish) -> Prepared:
    """Data, attacks and Config for ``wish``.

    Raises TinyRobustError: an unknown attack, a size outside 1..255, ART missing, an adversarial
    file that is damaged or belongs to another network, a task that does not fit the model.
    """
    saved = model.folder / SAVED_SET
    notices = []
    path, names = wish.adversarial, wish.attacks
    if path is None and names is None and importlib.util.find_spec("art") is None:
        if saved.is_file():
            path = saved
            notices.append(f"ART is not installed: replaying the saved set {saved}")
        else:
            names = tuple(n for n in WITHOUT_ART if wish.norm in attacks.get(n).norms)
            notices.append(
                "ART is not installed and the model has no saved adversarial set: the attacks "
                f"that need none, {', '.join(names)}; for more pip install 'tinyrobust[attacks]'"
            )
    if path is not None:
        replay = AdversarialSet.load(path)
        replay.check_graph(model.graph)
        chosen = _replayed(replay, wish, path)
        task = str(replay.header.get("task") or model.graph.task)
        if wish.task not in (None, task):
            raise TaskError(
                f"{path} holds images of task '{task}', not of '{wish.task}'",
                "give --task as the set has it, or a set of that task",
            )
        check_task(task, model.graph)
        images, labels = replay.images[: wish.samples], replay.labels[: wish.samples]
        split, seed = str(replay.header.get("split", "test")), int(replay.header.get("seed", 0))
        parameters = {k: v for k, v in dict(replay.header.get("parameters", {})).items()
                      if k in {s.key for s in chosen}}  # fmt: skip
        if len(images) < wish.samples:
            notices.append(f"the saved set has {len(images):,} images")
    else:
        replay, task, split = None, wish.task or model.graph.task, "test"
        check_task(task, model.graph)  # before anything is downloaded
        seed = wish.seed
        chosen = _crafted(names or DEFAULT_ATTACKS, wish.eps or DEFAULT_EPS[wish.norm], wish)
        images, labels = tasks.get(task).load("test", wish.samples)
        parameters = {
            s.key: attacks.get(str(s.attack)).describe(s.eps_255, wish.settings) for s in chosen
        }
    config = Config(
        board=board, model=model.name, task=task, split=split, samples=len(images),
        seed=seed, attacks=chosen, graph_sha256=model.graph.sha256,
        image_sha256=image_sha256, parameters=parameters,
        adversarial_sha256=sha256(path.read_bytes()) if path is not None else None,
        data_sha256=sha256(images.tobytes() + np.asarray(labels, np.int64).tobytes()),
        generator=generator() if replay is None else {},
        oracle=wish.oracle or fastest() if replay is None else "none",
        batch_images=wish.batch_images, steps=wish.steps, queries=wish.queries,
        surrogate=wish.surrogate,
    )  # fmt: skip
    return Prepared(config, images, labels, replay, tuple(notices))


def _crafted(names: Sequence[str], sizes: Sequence[float], wish: Wish) -> tuple[Series, ...]:
    for name in names:
        attacks.get(name).check_available(wish.settings)
    most = 255 if wish.norm == "linf" else 100_000
    for size in sizes:
        if not 1 <= size <= most:
            raise TinyRobustError(
                f"eps {size:g} is not in 1..{most}", "give eps in 1/255, as 2,8 (L2: as 64,128)"
            )
    return tuple(
        Series(n, int(e) if e == int(e) else e, wish.norm, wish.targeted)
        for n in dict.fromkeys(names) for e in sorted(set(sizes))
    )  # fmt: skip


def _replayed(replay: AdversarialSet, wish: Wish, path: Path) -> tuple[Series, ...]:
    chosen = tuple(
        s for s in sorted(replay.crafted, key=lambda s: (str(s.attack), s.eps_255))
        if (wish.attacks is None or s.attack in wish.attacks)
        and (wish.eps is None or s.eps_255 in wish.eps)
        and (wish.norm == s.norm or (wish.attacks is None and wish.eps is None))
    )  # fmt: skip
    missing = set(wish.attacks or ()) - {s.attack for s in chosen}
    if missing or not chosen:
        held = ", ".join(sorted(s.key for s in replay.crafted)) or "nothing"
        raise TinyRobustError(
            f"{path} has no {', '.join(sorted(missing)) or 'attack of that size'}; it holds {held}",
            "leave out --attacks and --eps to replay all of it",
        )
    return chosen


def check_task(name: str, graph: Graph) -> None:
    """Raise TaskError unless task ``name`` has the inputs and the classes of ``graph``."""
    if name == NO_TASK:
        raise TaskError(
            f"'{graph.name}' names no task, so there is no data to evaluate it on",
            f"give --task: {', '.join(tasks.names())}",
        )
    task = tasks.get(name)
    if graph.states:
        raise TaskError(
            f"'{graph.name}' keeps {len(graph.states)} states from one run to the next: an image "
            "by itself has no answer", "evaluate a network without states",
        )  # fmt: skip
    if not graph.classifier:
        raise TaskError(
            f"'{graph.name}' gives {', '.join(port.name for port in graph.results)}, which are no "
            "scores of classes", "evaluate a network of one image in and one vector of scores out",
        )  # fmt: skip
    if tuple(task.input_shape) != graph.input.shape or len(task.labels) != graph.output.size:
        raise TaskError(
            f"task '{name}' has images {tuple(task.input_shape)} of {len(task.labels)} classes, "
            f"model '{graph.name}' takes {graph.input.shape} and knows {graph.output.size}",
            f"the model was trained for task '{graph.task}'",
        )
    if graph.task != NO_TASK and tuple(task.labels) != graph.labels:
        raise TaskError(
            f"the classes of task '{name}' ({', '.join(task.labels[:3])}, ...) are not those of "
            f"model '{graph.name}' ({', '.join(graph.labels[:3])}, ...)",
            f"the model was trained for task '{graph.task}'",
        )
