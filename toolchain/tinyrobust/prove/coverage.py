"""What becomes of other people's networks: which import, fit a board, and give equal integers.

In: ``.tflite`` files and a board. Out: a Row for each: what kind of file it is and what it needs,
why it is refused, what it is predicted to take on the board, and how many outputs differ on random
inputs: the interpreter's from TensorFlow Lite's reference kernels, the host build's from the
interpreter. Each file is looked at in a process of its own, which it may take down.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust import __version__, boards, graph, image, memory
from tinyrobust.artefact import sha256
from tinyrobust.errors import BudgetError, ConvertError, TinyRobustError
from tinyrobust.graph import Graph
from tinyrobust.memory.budget import other_bytes
from tinyrobust.prove.inputs import Images, load_images
from tinyrobust.tflite import importer, refusal


@dataclass(frozen=True)
class Row:
    """One file. ``refused``: why there is no Graph of it. ``fits``: on the board, as predicted.
    ``reference_differs``, ``host_differs``: outputs of ``outputs`` compared that differ, None where
    nothing was compared; ``notes``: why that was not, and why it does not fit."""

    file: str
    sha256: str = ""
    bytes: int = 0
    kind: str = ""
    operators: dict[str, int] = field(default_factory=dict)
    imports: bool = False
    refused: str = ""
    board: str = ""
    fits: bool | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    samples: int = 0
    outputs: int = 0
    reference_differs: int | None = None
    host_differs: int | None = None
    notes: tuple[str, ...] = ()
    version: str = __version__

    @property
    def exact(self) -> bool | None:
        """No output differs from the reference; None where there was none to compare with."""
        if self.reference_differs is None:
            return None
        return not self.reference_differs and not self.host_differs

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "notes": list(self.notes), "exact": self.exact}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Row:
        """What ``as_json`` gave. Raises KeyError or TypeError."""
        known = {f.name: entry[f.name] for f in fields(cls)}
        return cls(**{**known, "notes": tuple(known["notes"])})


def cover(
    files: Sequence[Path], board_name: str, samples: int, known: Sequence[Row] = ()
) -> Iterator[Row]:
    """A Row for each of ``files`` in order; one of ``known`` where that was of the same bytes,
    board, samples and version."""
    done = {(r.sha256, r.board, r.samples, r.version): r for r in known}
    boards.load(board_name)  # an unknown one is an error before the first file
    pool = _pool()
    try:
        for path in files:
            try:
                key = sha256(path.read_bytes()), board_name, samples, __version__
            except OSError as error:
                yield Row(str(path), refused=f"cannot read {path}: {error.strerror}")
                continue
            if key in done:
                yield replace(done[key], file=str(path))
                continue
            try:
                yield pool.submit(examine, path, board_name, samples).result()
            except BrokenProcessPool:
                pool = _pool()
                yield Row(str(path), key[0], board=board_name, samples=samples,
                          notes=("the process that looked at it died",))  # fmt: skip
    finally:
        pool.shutdown(cancel_futures=True)


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def examine(path: Path, board_name: str, samples: int) -> Row:
    """The Row of one file."""
    data = path.read_bytes()
    row = Row(str(path), sha256(data), len(data), board=board_name, samples=samples)
    try:
        file = importer.contents(path)
        what, _ = refusal.kind(file)
        row = replace(row, kind=what, operators=dict(Counter(op.code for op in file.operators)))
        net = importer.load(path)
    except ConvertError as error:
        return replace(row, refused=error.message)
    row = _fitted(replace(row, imports=True), net, board_name)
    images, _ = load_images(net, samples)
    expected = graph.run(net, images)
    row = replace(row, outputs=int(expected.size))
    return _host(_reference(row, data, net, images, expected), net, images, expected)


def _fitted(row: Row, net: Graph, board_name: str) -> Row:
    board = boards.load(board_name)
    try:
        plan = memory.plan(net, board)
    except BudgetError as error:
        return replace(row, fits=False, notes=(*row.notes, error.message))
    except TinyRobustError as error:
        return replace(row, notes=(*row.notes, error.message))
    flash, ram = other_bytes(board)
    return replace(row, fits=True, flash_bytes=plan.flash_bytes + flash,
                   ram_bytes=plan.ram_bytes + ram)  # fmt: skip


def _reference(row: Row, data: bytes, net: Graph, images: Images, expected: Any) -> Row:
    if find_spec("tensorflow") is None:
        return replace(row, notes=(*row.notes, "no reference: TensorFlow is not installed"))
    from tinyrobust.tflite.reference import Reference

    try:
        found = Reference(data, net).scores(images)
    except (ValueError, RuntimeError) as error:  # what TensorFlow raises for a file it cannot run
        return replace(row, notes=(*row.notes, f"no reference: {str(error).splitlines()[0]}"))
    return replace(row, reference_differs=int(np.count_nonzero(found != expected)))


def _host(row: Row, net: Graph, images: Images, expected: Any) -> Row:
    with tempfile.TemporaryDirectory(prefix="tinyrobust-coverage-") as name:
        try:
            found = image.HostModel(image.host_library(net, Path(name))).predict(images)
        except TinyRobustError as error:
            return replace(row, notes=(*row.notes, f"no host build: {error.message}"))
    return replace(row, host_differs=int(np.count_nonzero(found != expected)))
