"""The evaluation itself: craft on the host, classify on the device, write down, resume.

In: Config, Graph, images, labels, a Device, a folder. Out: a Journal with every record.
Adversarial images are kept in ``<out>/adversarial/`` so that a killed run crafts nothing twice.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tinyrobust import attacks
from tinyrobust.artefact import try_lock
from tinyrobust.boards import Board
from tinyrobust.errors import LinkError, ProtocolError, TinyRobustError
from tinyrobust.evaluate.adversarial import AdversarialSet, UInt8, header_of
from tinyrobust.evaluate.cache import Cache
from tinyrobust.evaluate.config import Config, Series
from tinyrobust.evaluate.craft import Crafter, stored
from tinyrobust.evaluate.journal import Journal, now
from tinyrobust.evaluate.probe import probe
from tinyrobust.graph.nodes import Graph

WARM_UP_IMAGES = 2  # of a session: one that kernels may write code in, one to measure
PROBE_EPS_255 = 8  # where no series has a size in Linf
Progress = Callable[[Series, float], None]  # images done of a series, fractions included


@dataclass(frozen=True)
class Counter:
    """What one count of a board's counter is: ``per_count`` of ``unit``; None: nothing useful."""

    unit: str | None
    per_count: int


class Device(Protocol):
    """What evaluation needs of ``device.Session``."""

    hello: Any

    def infer_many(self, images: UInt8) -> Any: ...
    def layer_cycles(self) -> list[tuple[str, int]]: ...
    def steps(self) -> list[Any]: ...
    def memory(self) -> Any: ...
    def image_hash(self) -> str: ...


def check_device(device: Device, config: Config) -> None:
    """Raise ProtocolError unless the device runs the image and the graph of ``config``.

    The device computes the image's hash over its own flash, now.
    """
    for what, found, wanted in (
        ("image", device.image_hash(), config.image_sha256),
        ("graph", device.hello.graph_sha256, config.graph_sha256),
    ):
        if found != wanted:
            raise ProtocolError(
                f"the device runs another {what}: {found[:12]}, '{config.model}' built for "
                f"{config.board} is {wanted[:12]}",
                "flash it first: "
                + shlex.join(
                    ["tinyrobust", "flash", "--board", config.board, "--model", config.model]
                ),
            )


def evaluate(
    config: Config,
    graph: Graph,
    images: UInt8,
    labels: Any,
    device: Device,
    out: Path,
    *,
    replay: AdversarialSet | None = None,
    memory: Mapping[str, Any] | None = None,
    counter: Counter | None = None,
    fresh: bool = False,
    header: Mapping[str, Any] | None = None,
    victim: attacks.Victim | None = None,
    progress: Progress = lambda series, done: None,
    notice: Callable[[str], None] = lambda text: None,
) -> Journal:
    """Evaluate clean images (N, H, W, C) uint8 and each attack of ``config`` on ``device``.

    ``victim`` is what attacks see, by default the Graph in the interpreter
    (``evaluate.victim_for`` makes others). ``replay`` gives the adversarial images instead of
    crafting them. ``memory`` is the build's memory.json; ``counter`` says what the board counts
    (instructions on a virtual board and cycles on another, when not given). Records of another
    Config in ``out`` are put aside; ``fresh`` deletes all. Raises ProtocolError when the device
    runs another image, LinkError, DeviceFault, and TinyRobustError when the disk is full or another
    run works in ``out``; what was recorded stays, and the same call goes on.
    """
    with _alone(out):
        started = time.monotonic()
        check_device(device, config)
        if fresh:
            Cache.clear(out)
        journal = Journal(out, config, fresh=fresh, **(header or {}))
        if journal.put_aside:
            notice(f"records of another configuration were put aside as {journal.put_aside}")
        done = {(r["series"], r["first"]) for r in journal.batches()}
        if done:
            notice(f"going on after {len(done)} recorded batches in {journal.path}")
        crafter = Crafter(
            config, victim or attacks.GraphVictim(graph), images, labels, Cache(out, config), replay
        )
        work = _Work(config, graph, images, labels, device, crafter, journal)
        journal.append(_device_record(device, config, counter))
        layers, marks = _session_figures(device, images)
        for series in config.series:
            for first in range(0, len(images), config.batch_images):
                if (series.key, first) not in done:
                    work.batch(series, first, progress)
                progress(series, min(first + config.batch_images, len(images)))
            if series.attack is None and journal.last("layers") is None:
                journal.append({"type": "layers", "layers": layers})
        if replay is None and config.attacks and journal.last("masking") is None:
            eps = max(
                (s.eps_255 for s in config.attacks if s.norm == "linf"), default=PROBE_EPS_255
            )
            truth = np.asarray(labels, np.int64)
            found = probe(crafter.victim, images, truth, eps, config.seed)
            journal.append({"type": "masking", "probe": found})
        journal.append({"type": "memory", "image": dict(memory or {}), "marks": marks})
        journal.append({"type": "done", "seconds": time.monotonic() - started, "finished": now()})
        return journal


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Raise TinyRobustError when another run works in the folder ``out``."""
    lock = try_lock(out / ".lock")
    if lock is None:
        raise TinyRobustError(
            f"another run works in {out}", "let it finish, or choose another --out"
        )
    try:
        yield
    finally:
        os.close(lock)


def counter_of(board: Board) -> Counter | None:
    """What the cycle counter of ``board`` counts, where its file says something special."""
    if board.cycle_counter == "none":
        return Counter(None, 1)  # the host counts nanoseconds, which say nothing about a board
    if board.cycle_counter == "timer" and board.virtual == "qemu":
        return Counter("instructions", round(1e9 / board.clock_hz))  # -icount: 1 ns each
    return None


def _device_record(device: Device, config: Config, counter: Counter | None) -> dict[str, Any]:
    hello = device.hello
    counter = counter or Counter("instructions" if hello.is_virtual else "cycles", 1)
    return {
        "type": "device", "board": hello.board, "model": hello.model,
        "image_sha256": config.image_sha256, "graph_sha256": hello.graph_sha256,
        "clock_hz": hello.clock_hz, "is_virtual": bool(hello.is_virtual),
        "counter": {"unit": counter.unit, "per_count": counter.per_count},
    }  # fmt: skip


def _session_figures(device: Device, images: UInt8) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Layers' cycles and high-water marks, by the same few requests at the start of every session.

    So they do not depend on what is left to do, nor does a batch's cost: the first inference of a
    session costs more where kernels write code, and whatever ran raises the marks. A run that was
    cut off and goes on in a new session then measures what an unbroken one does.
    """
    for _ in range(WARM_UP_IMAGES):
        device.infer_many(images[:1])
    steps = {step.name: step for step in device.steps()}
    layers = [
        {"name": name, "kernel": steps[name].kernel, "macs": steps[name].macs, "cycles": cycles}
        for name, cycles in device.layer_cycles()
    ]
    return layers, {k: int(v) for k, v in vars(device.memory()).items()}


@dataclass
class _Work:
    """One run's things, and the steps of one batch."""

    config: Config
    graph: Graph
    images: UInt8
    labels: Any
    device: Device
    crafter: Crafter
    journal: Journal

    def __post_init__(self) -> None:
        self.interpreter = attacks.InterpreterOracle(self.graph)

    def batch(self, series: Series, first: int, progress: Progress) -> None:
        """Craft or fetch, classify on the device, compare, record."""
        span = slice(first, min(first + self.config.batch_images, len(self.images)))
        labels = np.asarray(self.labels[span], np.int64)
        shown, extra = self.images[span], {}
        if series.attack is not None:
            crafted = self.crafter.batch(series, first, span, progress)
            shown, extra = crafted.images, crafted.record(self.images[span])
        began = time.monotonic()
        answer = self.device.infer_many(shown)
        device_s = time.monotonic() - began
        predicted = np.asarray(answer.labels, np.int64)
        if len(predicted) != len(labels):
            raise LinkError(
                f"the device answered {len(predicted)} of {len(labels)} images",
                "check cable and power, and run the same command again: it goes on",
            )
        expected = self.interpreter(shown)
        cycles = np.asarray(answer.cycles, np.int64)
        self.journal.append({
            "type": "batch", "series": series.key, "first": first,
            "labels": labels.tolist(), "predicted": predicted.tolist(),
            "expected": expected.argmax(axis=1).tolist(),
            "score_differences": int(np.count_nonzero(answer.scores != expected)),
            "cycles": {k: int(getattr(cycles, k)()) for k in ("min", "max", "sum")},
            "device_s": round(device_s, 3), **extra,
        })  # fmt: skip


def crafted_set(config: Config, out: Path, images: UInt8, labels: Any) -> AdversarialSet:
    """The adversarial images of a finished evaluation as a set that can be saved and replayed.

    Raises TinyRobustError when the folder's crafted images are gone.
    """
    cache = Cache(out, config)
    truth = np.asarray(labels, np.int64)
    made: dict[Series, UInt8] = {}
    for series in config.attacks:
        parts = []
        for first in range(0, len(images), config.batch_images):
            span = slice(first, first + config.batch_images)
            batch = stored(cache, series, first, images[span], truth[span])
            if batch is None:
                raise TinyRobustError(
                    f"the crafted images of '{series.key}' from {first} on are gone from {out}",
                    "run again with --fresh",
                )
            parts.append(batch.images)
        made[series] = np.concatenate(parts)
    return AdversarialSet(header_of(config), images, truth, made)
