"""Generated code on the host equals the interpreter on every integer of every step."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.graphs import random_graph, resnet8_graph, tiny_graph
from tests.kernels.host import Compiled, forces, planned, ready, write_sources
from tinyrobust.graph import interpreter
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.layers import ELEMENT_BYTES


def check(compiled: Compiled, graph: Graph, n: int = 3, seed: int = 0) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (n, *graph.input.shape), np.uint8)
    images[0] = 255  # the largest sums
    expected = interpreter.trace(graph, images)
    for i, image in enumerate(images):
        got = compiled.trace(image)
        assert set(got) == {step.output for step in compiled.plan.steps}
        for name, value in got.items():
            np.testing.assert_array_equal(
                value, expected[name.partition("@")[0]][i], err_msg=f"{graph.name} {name}"
            )
        np.testing.assert_array_equal(compiled.scores(image), expected[graph.output.name][i])


def some_slow(seeds: list[int], fast: int) -> list[Any]:
    """``seeds`` as parameters, those after the first ``fast`` marked slow."""
    return [pytest.param(n, marks=pytest.mark.slow if i >= fast else ()) for i, n in
            enumerate(seeds)]  # fmt: skip


@pytest.mark.parametrize("seed", some_slow(list(range(24)), 6))
def test_random_graphs_equal_the_interpreter(seed: int, tmp_path: Path) -> None:
    graph = random_graph(seed)
    choices = forces(graph, "host")
    check(Compiled(planned(graph, force=choices[seed % len(choices)]), tmp_path), graph)


def test_resnet8_equals_the_interpreter(tmp_path: Path) -> None:
    graph = resnet8_graph()
    check(Compiled(planned(graph), tmp_path, flags=("-O3",)), graph, n=2)


def test_tiny_graph_with_clang(tmp_path: Path) -> None:
    graph = tiny_graph()
    check(Compiled(planned(graph), tmp_path, compiler="clang++"), graph)


@pytest.mark.parametrize("seed", [3, 11])
@pytest.mark.parametrize("choice", [0, 1, 2])
def test_steps_write_their_output_and_scratch_only(seed: int, choice: int, tmp_path: Path) -> None:
    graph = random_graph(seed)
    compiled = Compiled(planned(graph, force=forces(graph, "host")[choice]), tmp_path)
    image = np.random.default_rng(seed).integers(0, 256, graph.input.shape, np.uint8)
    arenas = compiled.snapshots(image)
    for step, before, after in zip(compiled.plan.steps, arenas, arenas[1:], strict=False):
        place = compiled.plan.places[step.output]
        allowed = np.zeros(len(before), bool)
        allowed[place.offset : place.offset + place.count * ELEMENT_BYTES[place.type]] = True
        allowed[step.scratch_offset : step.scratch_offset + step.scratch_bytes] = True
        changed = np.flatnonzero((before != after) & ~allowed)
        assert changed.size == 0, f"{step.name} wrote at {changed[:8]}"


MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "tinyrobust.h"
int main(int argc, char** argv) {
  if (argc != 3) return 9;
  uint8_t* arena = static_cast<uint8_t*>(malloc(tr_model.arena_bytes));  // not a byte more
  if (tr_init(arena, tr_model.arena_bytes) != TR_OK) return 8;
  FILE* in = fopen(argv[1], "rb");
  FILE* out = fopen(argv[2], "wb");
  while (fread(tr_at(tr_model.inputs), 1, tr_model.input_bytes, in) == tr_model.input_bytes) {
    if (tr_invoke(nullptr, nullptr) != TR_OK) return 7;
    fwrite(tr_at(tr_model.outputs), 1, tr_model.output_bytes, out);
  }
  fclose(in);
  fclose(out);
  free(arena);
  return 0;
}
"""


@pytest.mark.parametrize("seed", some_slow([1, 8, 20], 1))
def test_sanitizers_find_nothing(seed: int, tmp_path: Path) -> None:
    graph = random_graph(seed)
    choices = forces(graph, "host")
    sources, includes = write_sources(planned(graph, force=choices[seed % len(choices)]), tmp_path)
    (tmp_path / "main.cpp").write_text(MAIN)
    flags = ["-std=c++17", "-O1", "-g", "-fsanitize=address,undefined",
             "-fno-sanitize-recover=all", *includes]  # fmt: skip
    program = tmp_path / "model"
    subprocess.run(
        ["g++", *flags, *ready("g++", flags, sources), str(tmp_path / "main.cpp"), "-o",
         str(program)],
        check=True, capture_output=True,
    )  # fmt: skip
    images = np.random.default_rng(seed).integers(0, 256, (4, *graph.input.shape), np.uint8)
    images[0], images[1] = 255, 0
    (tmp_path / "in").write_bytes(images.tobytes())
    done = subprocess.run(
        [str(program), str(tmp_path / "in"), str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    scores = np.fromfile(tmp_path / "out", np.int32).reshape(4, -1)
    np.testing.assert_array_equal(scores, interpreter.run(graph, images))


def test_the_arena_is_checked_once(tmp_path: Path) -> None:
    compiled = Compiled(planned(tiny_graph()), tmp_path)
    library, address = compiled.library, compiled.arena.ctypes.data
    size = compiled.plan.arena_bytes
    run = library.shim_run
    zeros = np.zeros(compiled.plan.graph.input.size, np.uint8).ctypes.data
    assert run(ctypes.c_void_p(address), size, ctypes.c_void_p(zeros), None) == 0
    assert run(ctypes.c_void_p(address), size - 1, ctypes.c_void_p(zeros), None) == 1
    assert run(ctypes.c_void_p(address + 1), size + 8, ctypes.c_void_p(zeros), None) == 2
    assert library.tr_invoke(None, None) == 3  # the last tr_init failed
