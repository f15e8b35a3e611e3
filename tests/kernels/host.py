"""Generated code as a shared library on the machine that runs the tests.

In: a Graph (or a Plan). Out: a ``Compiled`` whose ``trace`` gives what every step left behind.
"""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from tinyrobust import boards, codegen, memory, resources
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import candidates, layers
from tinyrobust.kernels.layouts import dense

FLAGS = [
    "-std=c++17", "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics",
    "-Wall", "-Wextra", "-Wconversion", "-Wvla", "-Werror", "-fstack-usage",
]  # fmt: skip
SHIM = r"""
#include "tinyrobust.h"
extern "C" {
static uint8_t* next;
static void keep(void*, uint16_t, const tr_step* s, const uint8_t* arena) {
  const uint32_t size = s->out_type < 2 ? 1 : s->out_type == 2 ? 2 : 4;
  const uint32_t bytes = s->out_count * size;
  for (uint32_t i = 0; i < bytes; ++i) *next++ = arena[s->out_offset + i];
}
// 0, or the first tr_status that was not TR_OK; `out` takes the outputs of all steps, if not null.
int shim_run(uint8_t* arena, uint32_t bytes, const uint8_t* in, uint8_t* out) {
  tr_status status = tr_init(arena, bytes);
  if (status != TR_OK) return status;
  for (uint32_t i = 0; i < tr_model.input_bytes; ++i) tr_at(tr_model.inputs)[i] = in[i];
  next = out;
  return tr_invoke(out != nullptr ? keep : nullptr, nullptr);
}
// The whole arena after every step, one after the other.
static void copy(void*, uint16_t, const tr_step*, const uint8_t* arena) {
  for (uint32_t i = 0; i < tr_model.arena_bytes; ++i) *next++ = arena[i];
}
void shim_snapshots(uint8_t* out) {
  next = out;
  tr_invoke(copy, nullptr);
}
const void* shim_scores(void) { return tr_at(tr_model.outputs); }
}
"""
DTYPES = {"u8": np.uint8, "i8": np.int8, "i16": np.int16, "i32": np.int32}


def write_sources(plan: memory.Plan, folder: Path) -> tuple[list[Path], list[str]]:
    """Write the generated files into ``folder``; C++ files to compile, and include flags."""
    generated = codegen.generate(plan)
    files = []
    for name, text in generated.files.items():
        (folder / name).write_text(text)
        files.append(folder / name)
    return [*files, *generated.sources], [f"-I{d}" for d in generated.include_dirs]


_CACHE = tempfile.TemporaryDirectory(prefix="tinyrobust-objects-")


@cache
def _firmware_object(compiler: str, flags: tuple[str, ...], source: Path) -> Path:
    """The object of a firmware source, compiled once per test run."""
    name = hashlib.sha256(repr((compiler, flags, source)).encode()).hexdigest()[:16]
    target = Path(_CACHE.name) / f"{name}.o"
    subprocess.run(
        [compiler, *flags, "-c", str(source), "-o", str(target)],
        check=True, capture_output=True, cwd=_CACHE.name,
    )  # fmt: skip
    return target


def ready(compiler: str, flags: list[str], sources: list[Path]) -> list[str]:
    """``sources`` with those of the firmware replaced by objects."""
    firmware = resources.root() / "firmware"
    return [
        str(_firmware_object(compiler, tuple(flags), source))
        if source.is_relative_to(firmware) else str(source)
        for source in sources
    ]  # fmt: skip


class Compiled:
    """A plan compiled for the host."""

    def __init__(
        self, plan: memory.Plan, folder: Path, *, compiler: str = "g++", flags: tuple[str, ...] = ()
    ) -> None:
        self.plan = plan
        sources, includes = write_sources(plan, folder)
        (folder / "shim.cpp").write_text(SHIM)
        library = folder / "model.so"
        options = [*FLAGS, *(flags or ("-O2",)), *includes, "-fPIC"]
        command = [compiler, *options, "-shared", *ready(compiler, options, sources),
                   str(folder / "shim.cpp"), "-o", str(library)]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        self.library = ctypes.CDLL(str(library))
        self.library.shim_scores.restype = ctypes.POINTER(ctypes.c_int32)
        self.memory = np.zeros(plan.arena_bytes + 64, np.uint8)
        start = -self.memory.ctypes.data % 8
        self.arena = self.memory[start : start + plan.arena_bytes]

    def scores(self, image: np.ndarray) -> np.ndarray:
        """int32 scores of one uint8 image."""
        assert self._run(image, None) == 0
        count = self.plan.graph.output.size
        return np.array(self.library.shim_scores()[:count], np.int32)

    def trace(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """What every step left behind, by tensor name."""
        total = sum(self.plan.places[s.output].bytes for s in self.plan.steps)
        out = np.zeros(total, np.uint8)
        assert self._run(image, out) == 0
        return split(self.plan, out)

    def snapshots(self, image: np.ndarray) -> np.ndarray:
        """uint8 (steps + 1, arena bytes): the arena before the first and after every step."""
        assert self._run(image, None) == 0
        start = np.full(self.arena.size, 0xA5, np.uint8)
        place = self.plan.image
        start[place.offset : place.offset + place.count] = image.ravel()
        self.arena[:] = start
        after = np.zeros((len(self.plan.steps), self.arena.size), np.uint8)
        self.library.shim_snapshots(ctypes.c_void_p(after.ctypes.data))
        return np.concatenate([start[None], after])

    def _run(self, image: np.ndarray, out: np.ndarray | None) -> int:
        image = np.ascontiguousarray(image)
        self.arena[:] = 0xA5  # nothing may depend on what was there before
        return int(
            self.library.shim_run(
                ctypes.c_void_p(self.arena.ctypes.data), ctypes.c_uint32(self.arena.size),
                ctypes.c_void_p(image.ctypes.data),
                ctypes.c_void_p(out.ctypes.data if out is not None else None),
            )
        )  # fmt: skip


def split(plan: memory.Plan, out: np.ndarray) -> dict[str, np.ndarray]:
    """The bytes of all steps' outputs, one after the other, as arrays by tensor name."""
    found, position = {}, 0
    for step in plan.steps:
        place = plan.places[step.output]
        end = position + place.bytes
        found[step.output] = as_tensor(plan, step.output, out[position:end].tobytes())
        position = end
    return found


def as_tensor(plan: memory.Plan, name: str, data: bytes) -> np.ndarray:
    """What a device stores of a tensor (or of its copy ``name@layout``) as the Graph has it."""
    place = plan.places[name]
    values = np.frombuffer(data, DTYPES[place.type])
    shape = plan.graph.tensor[name.partition("@")[0]].shape
    return dense(values, shape, place.type, place.layout).astype(values.dtype)


def forces(graph: Graph, core: str) -> list[dict[str, str]]:
    """Forced choices such that every layer meets every kernel that accepts it."""
    rows = {
        layer.name: [kernel.id for kernel in candidates(layer, graph, core)]
        for layer in layers(graph)
    }
    longest = max(len(ids) for ids in rows.values())
    return [{name: ids[i % len(ids)] for name, ids in rows.items()} for i in range(longest)]


def dense_kernels(graph: Graph, core: str) -> dict[str, str]:
    """Forced choices such that every tensor stays in HWC."""
    found = {}
    for layer in layers(graph):
        for kernel in candidates(layer, graph, core):
            if all("hwc" in choices for choices in kernel.file.layout.model_dump().values()):
                found[layer.name] = kernel.id
                break
    return found


def planned(
    graph: Graph, board: str = "host", force: Mapping[str, str] | None = None
) -> memory.Plan:
    """The plan of ``graph`` on a board that comes with tinyrobust."""
    return memory.plan(graph, boards.load(board), force=force or {})
