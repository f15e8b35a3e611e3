"""The independent check: hls4ml's own C simulation of the same model with the same types.

In: a Keras model and the hls4ml configuration of its conversion (or a zoo model's folder).
Out: an Oracle that gives the integers of hls4ml's C++ for scores and for every Graph tensor.

The simulation is the stock back end ``Vivado`` with ``io_stream`` (io_parallel does not compile
in reasonable time beyond toy networks). Compiled simulations are kept in the user's cache by
the hash of everything they were made from; running one needs no TensorFlow.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust import artefact, codecache
from tinyrobust.convert import order
from tinyrobust.convert.plugin import from_keras, quiet
from tinyrobust.convert.simulation import MANIFEST, intact
from tinyrobust.errors import ConvertError
from tinyrobust.graph import Graph, Input, Reshape
from tinyrobust.graph.interpreter import check_images
from tinyrobust.writing import scratch

PROJECT = "oracle"
_SOURCES = (
    "formats.py",
    "lowering.py",
    "names.py",
    "oracle.py",
    "plugin.py",
    "simulation.py",
    "backend.py",
    "depthwise.py",
)
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Oracle:
    """A compiled C simulation; ``graph`` gives names and binary scales of the tensors, no more,
    ``orders`` the order of its channels where that is not the simulation's (``order.py``),
    ``names`` the simulation's layer of a tensor where it has another name."""

    folder: Path
    graph: Graph
    processes: int = 2
    orders: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def scores(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
        """Scores int32 (N, classes) of uint8 images (N, H, W, C).

        Raises ConvertError when the simulation fails or a value is no multiple of its scale.
        """
        values = self._run(images, trace=False)["scores"]
        return self._integers(self.graph.output.name, values).astype(np.int32)

    def trace(self, images: npt.NDArray[np.uint8]) -> dict[str, Ints]:
        """Integers of every tensor of the Graph by name, (N, *shape)."""
        values = self._run(images, trace=True)
        out: dict[str, Ints] = {}
        for node in self.graph.nodes:
            name = node.output
            layer = self.names.get(name, name)
            if layer in values:
                tensor = self.graph.tensor[name]
                exact = self._integers(name, values[layer]).reshape(-1, *tensor.shape)
                moved = self.orders.get(name)
                out[name] = exact if moved is None else exact[..., moved]
            elif isinstance(node, Input):
                out[name] = images.astype(np.int64) >> node.shift
            elif isinstance(node, Reshape):
                out[name] = out[node.inputs[0]].reshape(-1, *self.graph.tensor[name].shape)
            else:
                raise ConvertError(f"hls4ml's simulation has no layer '{name}'", "convert again")
        return out

    def _integers(self, tensor: str, values: npt.NDArray[np.float64]) -> Ints:
        scaled = values * 2.0 ** self.graph.tensor[tensor].frac_bits
        integers = np.rint(scaled)
        if not np.array_equal(scaled, integers):
            worst = int(np.argmax(np.abs(scaled - integers)))
            raise ConvertError(
                f"hls4ml's '{tensor}' holds {scaled.flat[worst]:.6g} steps, not an integer",
                "the Graph has other types than the simulation; convert the model again",
            )
        return integers.astype(np.int64)

    def _run(self, images: npt.NDArray[np.uint8], *, trace: bool) -> dict[str, Any]:
        check_images(self.graph, images)
        node = self.graph.nodes[0]
        assert isinstance(node, Input)
        values = (images >> node.shift) * 2.0**-self.graph.input.frac_bits
        parts = np.array_split(values, max(1, min(self.processes, len(values))))
        with scratch("oracle") as name:
            folder = name
            workers = []
            try:
                for i, part in enumerate(parts):
                    np.save(folder / f"{i}.npy", part)
                    workers.append(self._worker(folder, i, trace))
                for worker in workers:
                    _, errors = worker.communicate()
                    if worker.returncode:
                        last = (
                            errors.decode(errors="replace").strip() or "no message"
                        ).splitlines()[-1]
                        raise ConvertError(f"hls4ml's C simulation failed: {last}",
                                           f"delete {self.folder} and run again")  # fmt: skip
            finally:
                for worker in workers:
                    worker.kill()
                    worker.wait()
            loaded = []
            for i in range(len(parts)):
                with np.load(folder / f"{i}.npz") as archive:
                    loaded.append({key: archive[key] for key in archive.files})
        return {key: np.concatenate([part[key] for part in loaded]) for key in loaded[0]}

    def _worker(self, folder: Path, i: int, trace: bool) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tinyrobust.convert.simulation", str(self.folder),
                   str(folder / f"{i}.npy"), str(folder / f"{i}.npz")]  # fmt: skip
        path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
        return subprocess.Popen(
            command + ["--trace"] * trace, env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip


def compile(
    keras_model: Any, config: dict[str, Any], out_dir: Path, *, graph: Graph | None = None
) -> Oracle:
    """Compile hls4ml's C simulation of ``keras_model`` with ``config`` into ``out_dir``.

    ``config`` is ``lowering.hls_config`` of the conversion. Without ``graph`` the model is
    converted once more for the names and scales. Raises ConvertError when the compiler fails.
    """
    if graph is None:
        from tinyrobust.convert.backend import graph_of

        graph = graph_of(from_keras(keras_model, hls_config=config, output_dir=out_dir))
    hls = from_keras(keras_model, backend="Vivado", hls_config=config, output_dir=out_dir,
                     project_name=PROJECT, io_type="io_stream")  # fmt: skip
    return build(hls, out_dir, graph)


def build(hls: Any, out_dir: Path, graph: Graph, names: Mapping[str, str] | None = None) -> Oracle:
    """Write and compile hls4ml's project of ``hls``, a ModelGraph of back end Vivado.

    ``names``: the layer of each tensor of ``graph`` where it has another name. Raises ConvertError
    when the compiler fails.
    """
    if shutil.which("g++") is None:
        raise ConvertError("hls4ml's C simulation needs g++", "apt-get install g++")
    for layer in hls.get_layers():
        for weight in layer.weights.values():
            weight.data = np.nan_to_num(weight.data, nan=0.0)  # see dead_channels_to_zero
    hls.config.trace_output = True
    with quiet():
        hls.write()
    done = subprocess.run(
        ["bash", "build_lib.sh"], cwd=out_dir, capture_output=True, check=False, text=True
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise ConvertError(
            f"hls4ml's C simulation does not compile: {lines[0].strip():.300}",
            f"run {out_dir}/build_lib.sh to see everything",
        )
    layers = {
        layer.name: [int(n) for n in layer.get_output_variable().shape]
        for layer in hls.get_layers()
        if layer.get_attr("function_cpp", None) and layer.get_attr("trace", False)
    }
    library = next((out_dir / "firmware").glob("*.so")).relative_to(out_dir)
    artefact.write_json(out_dir / MANIFEST, {
        "project": PROJECT, "library": str(library), "layers": layers,
        "library_sha256": artefact.sha256((out_dir / library).read_bytes()),
        "classes": graph.output.size,
    })  # fmt: skip
    return Oracle(out_dir, graph, names=names or {})


def for_model(folder: Path, graph: Graph) -> Oracle:
    """The Oracle of the zoo model in ``folder`` (which holds ``train/``), from the cache if there.

    The simulation is made from ``train/`` alone; ``graph`` only names and scales the tensors.
    Raises ConvertError when ``train/`` is missing or ``order.json`` damaged, or the training extra
    is missing with nothing in the cache.
    """
    trained = folder / "train"
    if not (trained / "weights.npz").is_file():
        raise ConvertError(
            f"{folder} has no train/weights.npz, so hls4ml's simulation cannot be made",
            "use a zoo model, or convert the trained folder again",
        )
    target = cache() / _key(trained)
    with locked(target.with_suffix(".lock")):
        if not intact(target):
            from tinyrobust.convert.qkeras import convert_trained

            shutil.rmtree(target, ignore_errors=True)
            converted = convert_trained(trained)
            compile(converted.keras_model, converted.hls_config, target, graph=converted.graph)
    return Oracle(target, graph, orders=order.load(folder, graph))


def cache() -> Path:
    """Where compiled simulations are kept."""
    return codecache.folder("oracle")


def _key(trained: Path) -> str:
    """Hash of the trained model and of the code that makes the simulation."""
    here = Path(__file__).parent
    parts = [here / name for name in _SOURCES]
    parts += sorted(p for p in trained.iterdir() if p.name in ("weights.npz", "recipe.yaml"))
    return artefact.sha256(
        json.dumps([(p.name, artefact.sha256(p.read_bytes())) for p in parts]).encode()
    )[:24]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, so that two runs do not compile into one folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("w")
    except OSError as error:
        raise ConvertError(
            f"cannot write to the cache {path.parent}: {error.strerror}", "set XDG_CACHE_HOME"
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
