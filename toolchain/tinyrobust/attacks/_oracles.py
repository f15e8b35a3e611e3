"""Who answers an attack's questions about a Graph: interpreter, engine, host build, or a board.

In: a Graph (and a session with a board). Out: an Oracle, ``oracle(images) -> scores``, int32
(N, classes) of uint8 images (N, H, W, C). All of them give the same integers; they differ in speed
and in what they prove. The engine is several times faster than the others.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import DeviceFault, LinkError
from tinyrobust.graph import run
from tinyrobust.graph.batches import cores, in_batches
from tinyrobust.graph.interpreter import check_images
from tinyrobust.graph.nodes import Graph
from tinyrobust.writing import scratch

UInt8 = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]

RETRIES = 2  # a device that was reset is asked again so often
_IMAGES = 8  # per call, so that a layer stays in the cache and every core has work


class Oracle(Protocol):
    """Scores of images, by whatever computes them; ``name`` is what reports call it."""

    name: str

    def __call__(self, images: UInt8) -> Ints: ...


class InterpreterOracle:
    """The interpreter itself, on every core."""

    name = "interpreter"

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __call__(self, images: UInt8) -> Ints:
        check_images(self._graph, images)
        out = np.zeros((len(images), self._graph.output.size), np.int32)

        def work(where: slice) -> None:
            out[where] = run(self._graph, images[where])

        in_batches(len(images), _IMAGES, work)
        return out


class NativeOracle:
    """The interpreter's arithmetic compiled for this very processor (``tinyrobust.native``).

    Raises BuildError where there is no C++ compiler.
    """

    name = "native"

    def __init__(self, graph: Graph) -> None:
        from tinyrobust import native
        from tinyrobust.twin.native import twin_for

        native.check()  # else twin_for would take numpy where there is no compiler
        self._graph = graph
        self._twin = twin_for(graph)

    @staticmethod
    def available() -> bool:
        """Whether this computer has a compiler for it."""
        from tinyrobust import native

        return native.available()

    def __call__(self, images: UInt8) -> Ints:
        check_images(self._graph, images)
        return self._twin.scores(images).astype(np.int32)


class HostOracle:
    """The firmware's C++ compiled for this computer, one copy of the library per core.

    Raises BuildError where there is no C++ compiler.
    """

    name = "host"

    def __init__(self, graph: Graph) -> None:
        from tinyrobust.image import HostModel, host_library

        self._classes = graph.output.size
        self._models: SimpleQueue[HostModel] = SimpleQueue()
        with scratch("oracle") as folder:
            library = host_library(graph, folder, tuned=graph.family == "tflite")
            for _ in range(cores()):  # a loaded model has one arena
                self._models.put(HostModel(library))

    def __call__(self, images: UInt8) -> Ints:
        out = np.zeros((len(images), self._classes), np.int32)

        def work(where: slice) -> None:
            model = self._models.get()
            try:
                out[where] = model.predict(images[where])
            finally:
                self._models.put(model)

        in_batches(len(images), _IMAGES, work)
        return out


class DeviceOracle:
    """A flashed board over its serial link, real or virtual; images go in batches over the link.

    A board that was reset in mid-run (DeviceFault), or that fell silent (LinkError), is met again
    by ``reopen`` and asked the same images once more, RETRIES times; every question stands for
    itself, so no answer can be wrong for it. Then the error goes on to the caller. ``retried``
    counts these times.
    """

    name = "device"

    def __init__(self, session: Any, reopen: Callable[[], Any] | None = None) -> None:
        self._session = session
        self._reopen = reopen
        self.retried = 0

    def __call__(self, images: UInt8) -> Ints:
        for left in range(RETRIES, -1, -1):
            try:
                return np.asarray(self._session.infer_many(images).scores)
            except (DeviceFault, LinkError):
                if not left or self._reopen is None:
                    raise
                self.retried += 1
                self._session = self._reopen()
        raise AssertionError("unreachable")
