"""Exported libraries: built the way other projects build, run, and equal in every integer."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests import library_builds
from tests.graphs import random_graph, tiny_graph
from tests.int8_networks import network
from tests.library_builds import HOST, M0, M3, M4, M7, Target, run
from tinyrobust import library, memory, tasks
from tinyrobust.convert.models import load_model
from tinyrobust.graph import interpreter
from tinyrobust.graph.model import zoo
from tinyrobust.graph.nodes import Graph

FORMATS = sorted(library.formats())
SAMPLES = 8
GRAPHS = {"tiny": tiny_graph, "int8-3": lambda: network(3), "random": lambda: random_graph(8)}


@cache
def graph_called(name: str) -> Graph:
    return GRAPHS[name]() if name in GRAPHS else load_model(name).graph


def images_of(graph: Graph, samples: int = SAMPLES) -> np.ndarray:
    """Half of them of the task where there is one, half random."""
    rng = np.random.default_rng(5)
    found = rng.integers(0, 256, (samples, *graph.input.shape), dtype=np.uint8)
    if graph.task == "shapes":
        real, _ = tasks.get("shapes").load("test", samples // 2)
        if real.shape[1:] == graph.input.shape:
            found[: len(real)] = real
    return found


def written(format: str, name: str, folder: Path, core: str = "cortex-m4") -> library.Library:
    return library.export(
        graph_called(name), library.generic_board(core), folder / "library", format=format,
        model=name,
    )  # fmt: skip


def check(
    format: str, name: str, target: Target, folder: Path, core: str = "cortex-m4",
    samples: int = SAMPLES,
) -> None:  # fmt: skip
    """Export, build, run; compare every score with the interpreter's."""
    made = written(format, name, folder, core)
    program = library_builds.build(format, made.folder, target, folder / "work")
    graph = graph_called(name)
    images = images_of(graph, samples)
    np.testing.assert_array_equal(
        library_builds.scores(program, target, images), interpreter.run(graph, images)
    )


def test_every_format_is_built_here() -> None:
    assert sorted(library_builds.BUILDS) == FORMATS


ON_HOST = [(format, "tiny") for format in FORMATS]
ON_HOST += [("c-array", "int8-3"), ("arduino", "int8-3")]


@pytest.mark.slow
@pytest.mark.parametrize(("format", "name"), ON_HOST)
def test_on_this_computer(format: str, name: str, tmp_path: Path) -> None:
    """The plain sources with every check that the compiler has of addresses and arithmetic."""
    check(format, name, HOST, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "target"), [("tiny", M4), ("int8-3", M3)], ids=["m4", "m3"])
@pytest.mark.parametrize("format", FORMATS)
def test_on_an_emulated_core(format: str, name: str, target: Target, tmp_path: Path) -> None:
    """One with DSP instructions, and one without, which falls back to plain C++."""
    check(format, name, target, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "target"),
    [("random", M0), ("int8-3", M0), ("int8-3", M4)],
    ids=["m0", "m0-i8", "m4-i8"],
)
def test_on_the_smallest_core_and_the_other_way_round(
    name: str, target: Target, tmp_path: Path
) -> None:
    check("c-array", name, target, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo())
def test_the_zoo_on_an_emulated_cortex_m7(name: str, tmp_path: Path) -> None:
    check("cmake", name, M7, tmp_path, core="cortex-m7", samples=4)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("file", ["ic_resnet8_int8.tflite", "kws_dscnn_int8.tflite"])
def test_tflite_files_on_an_emulated_cortex_m4(file: str, tmp_path: Path, real_data: Path) -> None:
    check("c-array", str(real_data / "mlperf-tiny" / file), M4, tmp_path, samples=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "standard"),
    [*((HOST, standard) for standard in library_builds.ARDUINO_STANDARDS), (M4, "-std=gnu++14"),
     (M3, "-std=gnu++11")],
    ids=lambda value: value if isinstance(value, str) else value.machine or "host",
)  # fmt: skip
def test_arduinos_standards_and_warnings(target: Target, standard: str, tmp_path: Path) -> None:
    """Every source compiles without a warning, also behind Arduino.h and its macros."""
    folder = written("arduino", "tiny", tmp_path).folder
    flags = [*library_builds.ARDUINO_FLAGS, *library_builds.ARDUINO_CXX, standard, "-fsyntax-only"]
    sources = sorted((folder / "src").glob("*.cpp"))
    run([*target.cxx, *flags, *sources], tmp_path)
    core = library_builds.PROJECTS / "arduino_core" / "Arduino.h"
    run([*target.cxx, *flags, "-include", core, *sources], tmp_path)


@pytest.mark.slow
def test_code_in_ram_runs_where_it_is_allowed(tmp_path: Path) -> None:
    graph, board = graph_called("shapes-small"), library.generic_board("cortex-m4")
    made = library.export(graph, board, tmp_path / "library", format="cmake", model="s",
                          name="shapes", aim=memory.Aim(code_in_ram=True))  # fmt: skip
    assert made.package.facts["code_ram_bytes"] and made.package.facts["needs_dsp"]
    program = library_builds.build("cmake", made.folder, M4, tmp_path / "work")
    images = images_of(graph)
    np.testing.assert_array_equal(
        library_builds.scores(program, M4, images), interpreter.run(graph, images)
    )
    with pytest.raises(AssertionError, match="need the DSP instructions of cortex-m4"):
        library_builds.build("cmake", made.folder, M3, tmp_path / "other")


@pytest.mark.slow
def test_two_libraries_in_one_program(tmp_path: Path) -> None:
    """The same kernels twice under two names, C and C++ callers."""
    objects: list[Path] = []
    for name in ("tiny", "random"):
        made = library.export(
            graph_called(name), library.generic_board("cortex-m4"), tmp_path / name,
            format="c-array", model=name,
        )  # fmt: skip
        for source in made.package.compiled:
            objects.append(tmp_path / f"{source}.o")
            run(["g++", "-std=c++17", "-c", made.folder / source, "-o", objects[-1]], tmp_path)
    (tmp_path / "both.c").write_text(
        '#include "tiny.h"\n#include "random.h"\n'
        "static uint8_t a[TINY_ARENA_BYTES] TINY_ARENA_ALIGNED;\n"
        "static uint8_t b[MODEL_RANDOM_ARENA_BYTES];\n"
        "int main(void) { tiny_t x; (void)b; return tiny_init(&x, a, sizeof a); }\n".replace(
            "MODEL_RANDOM", "RANDOM"
        )
    )
    both = ["-I", tmp_path / "tiny", "-I", tmp_path / "random", tmp_path / "both.c"]
    run(["gcc", *both, *objects, "-o", "both"], tmp_path)
    run(["./both"], tmp_path)
