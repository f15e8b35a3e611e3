"""Prove the integers: the same images through every way of computing the network.

In: a model and a board. Out: a Verification: per back end the number of output integers that
differ from the numpy interpreter's, the same for every layer's tensor, and, as a check of the
check, the count after one weight was changed on purpose.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tinyrobust import boards, device, graph, image, memory, virtual
from tinyrobust.boards import Board
from tinyrobust.errors import CheckFailed, GraphError, TinyRobustError
from tinyrobust.graph import Graph
from tinyrobust.graph.int8 import DepthwiseConv2DInt8, Weighted
from tinyrobust.graph.model import Model
from tinyrobust.graph.nodes import TERNARY
from tinyrobust.graph.verify import accumulator_range
from tinyrobust.kernels.layouts import dense
from tinyrobust.prove.inputs import Images, load_images, read_inputs
from tinyrobust.tflite import importer
from tinyrobust.train import keras2
from tinyrobust.writing import scratch

INTERPRETER, HOST = "numpy interpreter", "host build"
ORACLES = {"fixed": "hls4ml C simulation", "tflite": "TensorFlow Lite reference"}
QEMU_BOARD = "mps2-an500"
_BATCH = 50
_ORACLE_BATCH = 500  # each call starts processes
_SILENCE_S = 120.0  # QEMU on a busy computer; one inference takes well under a second
Scores = npt.NDArray[Any]
Tensor = npt.NDArray[Any]
Tensors = dict[str, npt.NDArray[Any]]


class Progress(Protocol):
    """``done`` of ``total`` images of what is running."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class Column:
    """One back end against the interpreter. ``differing`` and ``integers`` count scores;
    ``layers`` maps a tensor to (differing, integers). ``skipped`` says why it was not run."""

    name: str
    differing: int | None
    integers: int
    seconds: float
    layers: dict[str, tuple[int, int]]
    skipped: str = ""

    @property
    def equal(self) -> bool:
        """No integer differs (or it was not run)."""
        return not self.differing and not any(n for n, _ in self.layers.values())


@dataclass(frozen=True)
class ChangedWeight:
    """The check of the check: ``differing`` scores of the host build with one other weight."""

    layer: str
    index: tuple[int, ...]
    before: int
    after: int
    differing: int
    tried: int


@dataclass(frozen=True)
class Verification:
    """See the module. ``source`` says where the images came from."""

    model: str
    graph_sha256: str
    board: str
    samples: int
    traced: int
    source: str
    columns: tuple[Column, ...]
    changed: ChangedWeight

    @property
    def holds(self) -> bool:
        """Every back end that ran is equal, and the changed weight was noticed."""
        return all(c.equal for c in self.columns) and self.changed.differing > 0

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**dataclasses.asdict(self), "holds": self.holds}


def verify(
    model: Model,
    board: Board,
    *,
    samples: int,
    traced: int,
    progress: Progress,
    inputs: Path | None = None,
    force: Mapping[str, str] | None = None,
    aim: memory.Aim | None = None,
) -> Verification:
    """Compare the family's own oracle, the host build, the virtual ``board`` and QEMU with the
    interpreter on ``samples`` images, and every layer on ``traced`` of them.

    The oracle is hls4ml's C simulation or TensorFlow Lite's reference kernels. The images are
    those of ``load_images``, or of the file ``inputs``. ``force`` and ``aim`` are those of
    ``memory.plan``; ``aim`` holds for ``board`` alone, whose limits it names.

    Raises what the stages raise (BudgetError, BuildError, LinkError, ...); a difference is no
    exception but a count.
    """
    net = model.graph
    images, source = read_inputs(inputs, net, samples) if inputs else load_images(net, samples)
    traced = min(traced, len(images))
    expected = _expected(net, images, progress)
    layers = graph.trace(net, images[:traced])
    columns = [_run_oracle(model, images, expected, layers, traced, progress)]
    with scratch("verify") as name:
        work = name
        columns.append(
            _run_host(net, images, expected, layers, traced, work / "library", force, progress)
        )
        ids = dict.fromkeys([board.id, QEMU_BOARD])
        for other in ids:
            target, own = (board, aim) if other == board.id else (boards.load(other), None)
            columns.append(
                _run_board(model, target, images, expected, layers, traced, work / other, progress,
                           force, own)
            )  # fmt: skip
        changed = change_a_weight(net, images[: max(traced, 20)], expected, work / "changed")
    return Verification(
        model.name, net.sha256, board.id, len(images), traced, source, tuple(columns), changed
    )


def _expected(net: Graph, images: Images, progress: Progress) -> Scores:
    parts = []
    states = graph.begin(net)
    for start in range(0, len(images), _BATCH):
        parts.append(graph.advance(net, images[start : start + _BATCH], states))
        progress(INTERPRETER, min(start + _BATCH, len(images)), len(images))
    return np.concatenate(parts)


def _differing(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> int:
    return int(np.count_nonzero(a.astype(np.int64).reshape(-1) != b.astype(np.int64).reshape(-1)))


def _layer_counts(found: Iterator[Tensors], layers: Tensors) -> dict[str, tuple[int, int]]:
    """Counts per tensor over images; ``found`` gives the tensors of one image after another."""
    counts: dict[str, tuple[int, int]] = {}
    for i, tensors in enumerate(found):
        for name, values in tensors.items():
            bad, total = counts.get(name, (0, 0))
            expected = layers[name.partition("@")[0]][i]
            counts[name] = bad + _differing(values, expected), total + int(values.size)
    return counts


def _state_counts(net: Graph, images: Images, found: Tensor) -> dict[str, tuple[int, int]]:
    """Counts per state of what a back end has there after the whole sequence."""
    states = graph.begin(net)
    graph.advance(net, images, states)
    counts, at = {}, 0
    for port in net.states:
        expected = states[port.tensor].reshape(-1)
        part = found[at : at + expected.size]
        counts[f"{port.name} after {len(images)} runs"] = _differing(part, expected), expected.size
        at += expected.size
    return counts


def _run_oracle(
    model: Model, images: Images, expected: Scores, layers: Tensors, traced: int,
    progress: Progress,
) -> Column:  # fmt: skip
    start = time.monotonic()
    name = ORACLES[model.graph.family]
    run = _tensorflow if model.graph.family == "tflite" else _hls4ml
    found = run(model, images, traced, lambda done: progress(name, done, len(images)))
    if isinstance(found, str):
        return Column(name, None, 0, 0.0, {}, skipped=found)
    scores, tensors = found
    if run is _tensorflow:
        name = f"{name}, {keras2.tensorflow_version()}"
    one_by_one = ({name: t[i] for name, t in tensors.items()} for i in range(traced))
    counts = _layer_counts(one_by_one, layers)
    seconds = time.monotonic() - start
    return Column(name, _differing(scores, expected), scores.size, seconds, counts)


def _hls4ml(
    model: Model, images: Images, traced: int, done: Callable[[int], None]
) -> tuple[Scores, Tensors] | str:
    """Scores and layers of hls4ml's C simulation, or why there are none."""
    try:
        from tinyrobust.convert import oracle, rebuilt

        trained = (model.folder / "train").is_dir()
        simulation = (
            oracle.for_model(model.folder, model.graph)
            if trained
            else rebuilt.for_graph(model.graph)
        )
    except (TinyRobustError, ImportError) as error:
        complete = find_spec("hls4ml") is not None and find_spec("tensorflow") is not None
        if complete and (model.folder / "train").is_dir():
            raise
        return error.message if isinstance(error, TinyRobustError) else str(error)
    parts = []
    for first in range(0, len(images), _ORACLE_BATCH):
        parts.append(simulation.scores(images[first : first + _ORACLE_BATCH]))
        done(min(first + _ORACLE_BATCH, len(images)))
    return np.concatenate(parts), simulation.trace(images[:traced]) if traced else {}


def _tensorflow(
    model: Model, images: Images, traced: int, done: Callable[[int], None]
) -> tuple[Scores, Tensors] | str:
    """Scores and layers of TensorFlow Lite's reference kernels, or why there are none."""
    if not importer.holds_model(model.path):
        return f"the reference needs the .tflite file that {model.path.name} was made from"
    if find_spec("tensorflow") is None:
        return "needs TensorFlow: pip install 'tinyrobust[train]' (Python 3.10 to 3.13)"
    from tinyrobust.tflite.reference import Reference

    reference = Reference(model.path.read_bytes(), model.graph)
    parts = []
    batch = len(images) if model.graph.states else _BATCH  # a sequence cannot be cut
    for first in range(0, len(images), batch):
        parts.append(reference.scores(images[first : first + batch]))
        done(min(first + batch, len(images)))
    return np.concatenate(parts), reference.trace(images[:traced]) if traced else {}


def _run_host(
    net: Graph, images: Images, expected: Scores, layers: Tensors, traced: int, work: Path,
    force: Mapping[str, str] | None, progress: Progress,
) -> Column:  # fmt: skip
    start = time.monotonic()
    progress(HOST, 0, len(images))
    model = image.HostModel(image.host_library(net, work, force=force))
    scores = model.predict(images)
    progress(HOST, len(images), len(images))
    states = _state_counts(net, images, model.states()) if net.states else {}
    model.reset_state()
    counts = _layer_counts((model.trace(x) for x in images[:traced]), layers) | states
    seconds = time.monotonic() - start
    return Column(HOST, _differing(scores, expected), scores.size, seconds, counts)


def _run_board(
    model: Model, board: Board, images: Images, expected: Scores, layers: Tensors, traced: int,
    work: Path, progress: Progress, force: Mapping[str, str] | None, aim: memory.Aim | None,
) -> Column:  # fmt: skip
    name = {"unicorn": "virtual", "qemu": "QEMU", "host": "process"}.get(str(board.virtual), "?")
    name = f"{name} {board.id}"
    start = time.monotonic()
    progress(name, 0, len(images))
    built = image.build(model.graph, board, work, model_name=model.name, force=force, aim=aim)
    steps = {step["name"]: step for step in built.meta["steps"]}
    with (
        virtual.start(board, built) as running,
        device.Session.open(
            running.port, timeout_s=_SILENCE_S, fault=running.raise_if_faulted
        ) as session,
    ):
        session.check_image(built.meta["image_sha256"])
        report: Callable[[int, int], None] = lambda done, total: progress(name, done, total)  # noqa: E731
        session.reset_state()
        scores = session.infer_many(images, progress=report).scores
        states = _state_counts(model.graph, images, session.states()) if model.graph.states else {}
        session.reset_state()
        traces = (_dense(steps, session.trace(x)) for x in images[:traced])
        counts = _layer_counts(traces, layers) | states
    seconds = time.monotonic() - start
    return Column(name, _differing(scores, expected), scores.size, seconds, counts)


def _dense(steps: Mapping[str, Any], traced: Tensors) -> Tensors:
    """The tensors that the device's steps left behind, in the Graph's order of elements; copies in
    another layout under names of their own."""
    return {
        steps[name]["output"]: dense(values, *(steps[name][k] for k in ("shape", "type", "layout")))
        for name, values in traced.items()
    }


def change_a_weight(net: Graph, images: Images, expected: Scores, work: Path) -> ChangedWeight:
    """Host build of ``net`` with one weight changed, against the scores of the unchanged one.

    The weight is the first that changes the interpreter's own scores of these images: one whose
    channel never reaches the scores would prove nothing. Raises CheckFailed when there is none.
    """
    wanted = expected[: len(images)]
    for tried, (other, where) in enumerate(weight_changes(net), 1):
        if _differing(graph.run(other, images), graph.run(net, images)):
            model = image.HostModel(image.host_library(other, work))
            return ChangedWeight(*where, _differing(model.predict(images), wanted), tried)
    raise CheckFailed(
        f"no changed weight of '{net.name}' reaches the scores of these images",
        "take more images with --layers",
    )


def weight_changes(
    net: Graph,
) -> Iterator[tuple[Graph, tuple[str, tuple[int, ...], int, int]]]:
    """Graphs that differ from ``net`` in one weight, with layer, index, old and new value.

    From the first layer on, the weight in the middle of every output channel: a trit becomes
    another, any other weight an end of its range. A network without weights has the zero point of
    an output changed by one.
    """
    if not any(isinstance(node, (*TERNARY, Weighted)) for node in net.nodes):
        yield from _zero_changes(net)
    for position, node in enumerate(net.nodes):
        if not isinstance(node, (*TERNARY, Weighted)):
            continue
        end = 1 if not isinstance(node, Weighted) else (1 << (node.weight_bits - 1)) - 1
        last = isinstance(node, DepthwiseConv2DInt8)  # its channels are the last axis
        shape = node.weights.shape[:-1] if last else node.weights.shape[1:]
        middle = tuple(int(n) // 2 for n in shape)
        for channel in range(node.weights.shape[-1 if last else 0]):
            index = (*middle, channel) if last else (channel, *middle)
            before = int(node.weights[index])
            after = end if before <= 0 else -end
            try:
                changed = _with_weight(net, position, index, after)
            except GraphError:
                continue  # the changed weight leaves a proved range: not a Graph
            yield changed, (node.name, index, before, after)


def _zero_changes(
    net: Graph,
) -> Iterator[tuple[Graph, tuple[str, tuple[int, ...], int, int]]]:
    for position, node in enumerate(net.nodes):
        before = getattr(node, "output_zero", None)
        if before is None:
            continue
        after = before - 1 if before > 0 else before + 1
        changed: Any = dataclasses.replace(node, output_zero=after)  # type: ignore[call-arg]
        nodes = (*net.nodes[:position], changed, *net.nodes[position + 1 :])
        yield dataclasses.replace(net, nodes=nodes), (node.name, (), before, after)


def _with_weight(net: Graph, position: int, index: tuple[int, ...], value: int) -> Graph:
    node = net.nodes[position]
    assert isinstance(node, (*TERNARY, Weighted))
    weights = node.weights.copy()
    weights[index] = value
    changed = dataclasses.replace(node, weights=weights)
    nodes = (*net.nodes[:position], changed, *net.nodes[position + 1 :])
    if isinstance(node, Weighted):
        return dataclasses.replace(net, nodes=nodes)
    low, high = accumulator_range(weights, net.tensor[node.inputs[0]])
    tensors = tuple(
        dataclasses.replace(t, lo=int(low.min()), hi=int(high.max()))
        if t.name == node.output
        else t
        for t in net.tensors
    )
    return dataclasses.replace(net, tensors=tensors, nodes=nodes)
