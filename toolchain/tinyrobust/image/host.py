"""The firmware's model as a library of this computer: the same C++ without port and protocol.

In: a Graph. Out: a shared library, and ``HostModel``, which calls it through ctypes.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyrobust import boards, codecache, codegen, memory, resources
from tinyrobust.artefact import sha256, write_json
from tinyrobust.errors import BuildError, GraphError
from tinyrobust.graph.nodes import Graph
from tinyrobust.graph.ports import sample_shape
from tinyrobust.image import compilers
from tinyrobust.image.build import firmware_source, model_sources
from tinyrobust.image.objects import compile_all
from tinyrobust.kernels.layouts import dense
from tinyrobust.writing import discard, make_scratch, scratch

LIBRARY = "libmodel.so"
SCHEMA = "tinyrobust.hostlibrary/2"
Ints = npt.NDArray[np.int32]
_NOT_READY = 3  # tr_status


def host_library(
    graph: Graph,
    out: Path,
    *,
    sanitize: bool = False,
    force: Mapping[str, str] | None = None,
    tuned: bool = False,
) -> Path:
    """Build ``graph`` as a shared library in the folder ``out``; returns its path.

    Beside it ``<library>.json`` says what the steps are. ``sanitize`` compiles with address and
    undefined-behaviour checks (the process must then preload libasan). ``force`` is that of
    ``memory.plan``. ``tuned``: for this very processor, by which int8 kernels gain much. Raises
    BuildError, and what the planner raises.
    """
    plan = memory.plan(graph, boards.load("host"), force=force)
    generated = codegen.generate(plan)
    compiler = compilers.host(sanitize=sanitize, shared=True, tuned=tuned)
    out.mkdir(parents=True, exist_ok=True)
    work = make_scratch("host", out)
    try:
        firmware = resources.root() / "firmware"
        sources = model_sources(plan, generated, work)
        sources.append(firmware_source(firmware / "ports/host/library/library.cpp"))
        include = list(dict.fromkeys([*generated.include_dirs, firmware / "include"]))
        objects = compile_all(sources, compiler, include, work / "objects")
        arguments = [*compiler.link_flags, *(str(o.path) for o in objects), "-o", LIBRARY]
        compiler.run(arguments, work, "the link")
        # A new file of the same name must be a new inode, or a process that has loaded the old
        # one would see its code change: rename, never overwrite.
        (work / LIBRARY).replace(out / LIBRARY)
    finally:
        discard(work)
    write_json(
        out / f"{LIBRARY}.json",
        {
            "schema": SCHEMA,
            "library_sha256": sha256((out / LIBRARY).read_bytes()),
            "graph_sha256": graph.sha256,
            "input_shape": list(sample_shape(graph)),
            "values": graph.output_count,
            "states": sum(graph.tensor[port.tensor].size for port in graph.states),
            "outputs": [
                {
                    "name": step["output"],
                    "count": plan.places[step["output"]].count,
                    **{key: step[key] for key in ("shape", "type", "layout")},
                }
                for step in generated.steps
            ],
        },
    )
    return out / LIBRARY


class HostModel:
    """A host library, loaded. Not thread-safe: the model has one arena.

    Raises BuildError when the library or its description cannot be read.
    """

    def __init__(self, path: Path) -> None:
        description = path.with_name(f"{path.name}.json")
        try:
            self.meta = json.loads(description.read_text())
            # Loading goes by name and inode; a private copy keeps two builds of one name apart.
            with scratch("host") as folder:
                copy = folder / path.name
                copy.write_bytes(codecache.trusted(path, str(self.meta["library_sha256"])))
                self._library = ctypes.CDLL(str(copy))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BuildError(f"cannot load {path}: {error}", "build the library again") from error
        self.input_shape = tuple(int(d) for d in self.meta["input_shape"])
        self.values = int(self.meta["values"])
        self._library.tr_trace_values.restype = ctypes.c_uint32

    def predict(self, images: npt.NDArray[np.uint8]) -> Ints:
        """Results int32 (N, elements of all outputs) of samples (``graph/ports.py``), run in order;
        of a classifier its scores (N, classes)."""
        images = self._checked(images)
        scores = np.zeros((len(images), self.values), np.int32)
        status = self._library.tr_predict(
            images.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint32(len(images)),
            scores.ctypes.data_as(ctypes.c_void_p),
        )  # fmt: skip
        self._ok(status)
        return scores

    def reset_state(self) -> None:
        """Give every state its first value again."""
        if self._library.tr_reset_state() not in (0, _NOT_READY):  # it has them before it is ready
            raise BuildError("the host library cannot reset its states", "build it again")

    def states(self) -> Ints:
        """Every element of every state as it is now, end to end."""
        values = np.zeros(int(self.meta["states"]), np.int32)
        self._ok(self._library.tr_states(values.ctypes.data_as(ctypes.c_void_p)))
        return values

    def trace(self, image: npt.NDArray[np.uint8]) -> dict[str, Ints]:
        """Every tensor that a step leaves in memory, by the Graph's name, for one sample.
        Accumulators that a kernel keeps in registers are not among them, nor are
        copies in another layout."""
        images = self._checked(image[None])
        values = np.zeros(self._library.tr_trace_values(), np.int32)
        status = self._library.tr_trace(
            images.ctypes.data_as(ctypes.c_void_p), values.ctypes.data_as(ctypes.c_void_p)
        )
        self._ok(status)
        found, at = {}, 0
        for output in self.meta["outputs"]:
            stored = values[at : at + output["count"]]
            at += output["count"]
            if "@" not in output["name"]:
                found[output["name"]] = dense(
                    stored, output["shape"], output["type"], output["layout"]
                )
        return found

    def _checked(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if images.dtype != np.uint8 or images.shape[1:] != self.input_shape:
            raise GraphError(
                f"the model takes uint8 {self.input_shape}, got {images.dtype} {images.shape[1:]}",
                "give uint8 samples of the model's shape, N of them",
            )
        return np.ascontiguousarray(images)

    @staticmethod
    def _ok(status: int) -> None:
        if status != 0:
            raise BuildError(
                f"the host library refused to run: status {status} (tinyrobust.h)",
                "build it again, or report it",
            )
