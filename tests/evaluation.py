"""What the tests of evaluation and report share: a session without a board, a small set-up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.graphs import tiny_graph
from tinyrobust.device import Batch, MemoryMarks, Step
from tinyrobust.errors import LinkError
from tinyrobust.evaluate import Config, Series
from tinyrobust.graph import interpreter
from tinyrobust.graph.nodes import Graph

IMAGE_SHA256 = "ab" * 32


class FakeSession:
    """Answers as a board that runs ``graph`` would; ``dies_after`` images it is unplugged."""

    def __init__(
        self, graph: Graph, *, is_virtual: bool = True, dies_after: int | None = None,
        wrong: int = 0, image_sha256: str = IMAGE_SHA256,
    ) -> None:  # fmt: skip
        self.graph = graph
        self.shown = 0
        self._left = dies_after
        self._wrong = wrong
        self._image = image_sha256
        self.hello = SimpleNamespace(
            board="nucleo-h743", model=graph.name, graph_sha256=graph.sha256,
            clock_hz=480_000_000, is_virtual=is_virtual,
        )  # fmt: skip

    def image_hash(self) -> str:
        return self._image

    def infer_many(self, images: Any) -> Batch:
        if self._left is not None:
            self._left -= len(images)
            if self._left < 0:
                raise LinkError("the port is gone")
        self.shown += len(images)
        scores = interpreter.run(self.graph, images)
        scores[: self._wrong, 0] += 1
        cycles = np.full(len(images), 480_000)
        return Batch(scores, cycles)

    def steps(self) -> list[Step]:
        return [Step("conv1", "conv2d_t2_u8", 1000, 10, 0), Step("dense", "dense_t2_u8", 10, 4, 3)]

    def layer_cycles(self) -> list[tuple[str, int]]:
        return [("conv1", 400_000), ("dense", 80_000)]

    def memory(self) -> MemoryMarks:
        return MemoryMarks(8192, 512, 2048, 1024, 4096)


def samples(graph: Graph, count: int = 20, seed: int = 0) -> tuple[Any, Any]:
    """Random images that ``graph`` mostly calls what the labels say."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *graph.input.shape)).astype(np.uint8)
    labels = interpreter.run(graph, images).argmax(1)
    labels[::7] = (labels[::7] + 1) % graph.output.size
    return images, labels.astype(np.int64)


def config(graph: Graph, count: int = 20, **changes: Any) -> Config:
    """A Config of noise at two sizes, in batches of 5."""
    values: dict[str, Any] = {
        "board": "nucleo-h743", "model": "tiny", "task": "synthetic", "split": "test",
        "samples": count, "seed": 3, "attacks": (Series("noise", 2), Series("noise", 8)),
        "graph_sha256": graph.sha256, "image_sha256": IMAGE_SHA256, "batch_images": 5,
    }  # fmt: skip
    return Config(**(values | changes))


GRAPH = tiny_graph()
MEMORY = {
    "flash": {"used_bytes": 14000, "budget_bytes": 2097152,
              "parts": [{"name": "code", "bytes": 9000}, {"name": "weights", "bytes": 5000}]},
    "ram": {"used_bytes": 16000, "budget_bytes": 655360,
            "parts": [{"name": "arena", "bytes": 12000}, {"name": "stack", "bytes": 4000}]},
    "stack": {"reserved_bytes": 8192, "bound_bytes": 532, "path": []},
    "layers": [{"name": "conv1", "kernel": "conv2d_t2_u8", "macs": 1000, "weights_bytes": 54,
                "tables_bytes": 64, "scratch_bytes": 0, "output_bytes": 512}],
}  # fmt: skip
