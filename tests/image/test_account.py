"""Every byte of a program: the sections as binutils' size counts them, and whose each byte is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.graphs import random_graph, tiny_graph
from tests.int8_networks import network
from tests.library_builds import M3, run
from tests.library_builds import build as build_library
from tinyrobust import boards, image, library
from tinyrobust.errors import BuildError
from tinyrobust.graph.model import load_model
from tinyrobust.image.account import PADDING, UNNAMED, account, read_map
from tinyrobust.image.owners import KINDS, owned
from tinyrobust.memory import Aim

# Images that differ: code in RAM or not, compiled weights or not, int8, other memories and cores.
IMAGES = {
    "tiny-h743": (tiny_graph, "nucleo-h743", Aim()),
    "random-an386": (lambda: random_graph(8), "mps2-an386", Aim("size", code_in_ram=False)),
    "int8-h743": (lambda: network(3), "nucleo-h743", Aim()),
    "shapes-an500": (lambda: load_model("shapes-small").graph, "mps2-an500", Aim()),
}
# Images that start behind a boot loader, and those with code that is copied from flash.
BOARDS = [
    name
    for name in boards.names()
    if (board := boards.load(name)).image_origin != board.flash.origin or board.placed("hot_code")
]


@pytest.fixture(
    scope="module",
    params=[*sorted(IMAGES), *(pytest.param(name, marks=pytest.mark.slow) for name in BOARDS)],
)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> image.Image:
    """Those, and a small one for boards that lay an image out in a way of their own."""
    graph, board, aim = IMAGES.get(request.param, (tiny_graph, request.param, Aim()))
    folder = tmp_path_factory.mktemp("account") / "image"
    return image.build(graph(), boards.load(board), folder, model_name="it", aim=aim)


def check_size(elf: Path, program: str = "arm-none-eabi-size") -> None:
    """Both of size's formats, to the byte."""
    found = account(elf)
    berkeley = run([program, "-B", elf], elf.parent).splitlines()[1].split()
    assert [found.text_bytes, found.data_bytes, found.bss_bytes] == [int(n) for n in berkeley[:3]]
    sysv = re.findall(r"^(\S+) +(\d+) +(\d+)$", run([program, "-A", elf], elf.parent), re.MULTILINE)
    ours = [(s.name, str(s.bytes), str(s.address)) for s in found.sections]
    assert [row for row in ours if row[1] != "0"] == [row for row in sysv if row[1] != "0"]


def test_it_agrees_with_size(built: image.Image) -> None:
    check_size(built.elf)


@pytest.mark.slow
def test_it_agrees_with_size_on_programs_that_are_not_ours(tmp_path: Path) -> None:
    """An exported library with newlib, with initialised data, and a process of this computer."""
    made = library.export(tiny_graph(), library.generic_board("cortex-m4"), tmp_path / "library",
                          format="c-array", model="tiny")  # fmt: skip
    check_size(build_library("c-array", made.folder, M3, tmp_path / "work"))
    host = image.build(tiny_graph(), boards.load("host"), tmp_path / "host", model_name="tiny")
    check_size(host.elf, "size")


@pytest.mark.parametrize("with_map", [True, False], ids=["map", "symbols"])
def test_the_items_are_the_sections_end_to_end(built: image.Image, with_map: bool) -> None:
    found = account(built.elf, built.elf.with_suffix(".map") if with_map else None)
    for section in found.sections:
        items = [i for i in found.items if i.section == section.name]
        if not section.kind:
            assert not items
            continue
        at = section.address
        for item in items:
            assert item.address == at and item.bytes > 0
            at += item.bytes
        assert at == section.address + section.bytes


def test_with_a_map_every_byte_has_an_owner(built: image.Image) -> None:
    found = account(built.elf, built.elf.with_suffix(".map"))
    items = owned(found, built.meta["steps"])
    assert {i.kind for i in items} <= set(KINDS) - {"other"}
    steps = built.meta["steps"]
    names = {i.owner for i in items if i.kind == "layer"}
    assert names == {step["name"] for step in steps}
    assert {i.owner for i in items if i.kind == "kernel"} <= {step["kernel"] for step in steps}
    padding = sum(i.bytes for i in items if i.kind == "padding")
    board = boards.load(built.meta["board"])
    assert padding < 600 + board.flash_word_bytes
    unnamed = [i for i in items if i.symbol == UNNAMED]
    assert all(i.kind != "padding" for i in unnamed)


def test_layers_are_those_of_the_memory_report(built: image.Image) -> None:
    """Weights and tables, counted twice on two ways."""
    items = owned(account(built.elf, built.elf.with_suffix(".map")), built.meta["steps"])
    for layer in built.memory.layers:
        mine = [i for i in items if i.kind == "layer" and i.owner == layer.name]
        constants = sum(i.bytes for i in mine if i.part in ("weights", "tables"))
        assert constants == layer.weights_bytes + layer.tables_bytes, layer.name
        assert sum(i.bytes for i in mine if i.part == "weights") == layer.weights_bytes
        assert sum(i.bytes for i in mine if i.part == "code") >= layer.compiled_bytes


def test_parts_are_those_of_the_memory_report(built: image.Image) -> None:
    items = owned(account(built.elf, built.elf.with_suffix(".map")), built.meta["steps"])
    protocol = sum(i.bytes for i in items if i.kind == "protocol" and i.part == "code")
    named = sum(p.bytes for p in built.memory.code if p.name == "protocol")
    assert 0 <= protocol - named <= 16  # literals that no symbol counts
    arena = sum(i.bytes for i in items if i.owner == "arena" and i.part == "data")
    assert arena == built.memory.arena_bytes
    stack = sum(i.bytes for i in items if i.kind == "stack")
    assert stack == built.memory.ram.part("stack")


def test_strings_belong_to_the_object_that_has_them(built: image.Image) -> None:
    found = account(built.elf, built.elf.with_suffix(".map"))
    strings = [i for i in found.items if i.section == ".rodata" and i.symbol == UNNAMED]
    assert any(i.origin == "generated_model.cpp.o" for i in strings)
    without = account(built.elf)
    assert all(i.origin == "" for i in without.items)
    assert {i.symbol for i in without.items} > {PADDING, UNNAMED}


def test_what_the_linker_was_given_from_libgcc_is_a_librarys(tmp_path: Path) -> None:
    source = tmp_path / "divide.c"
    source.write_text(
        "volatile long long a = 10, b = 3;\nint main(void) { return (int)(a / b); }\n"
    )
    run(["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-nostdlib", "-ffunction-sections",
         "-Wl,-e,main", "-Wl,-Map,program.map", source, "-lgcc", "-o", "program.elf"],
        tmp_path)  # fmt: skip
    found = account(tmp_path / "program.elf", tmp_path / "program.map")
    kinds = {(i.kind, i.owner) for i in owned(found) if i.part == "code"}
    assert ("library", "libgcc") in kinds
    library_bytes = sum(i.bytes for i in owned(found) if i.kind == "library")
    assert library_bytes > 200  # 64-bit division
    check_size(tmp_path / "program.elf")


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x7fELF nothing")
    for wrong in ("x", "missing"):
        with pytest.raises(BuildError, match="cannot read the ELF file"):
            account(tmp_path / wrong)
    with pytest.raises(BuildError, match="is not a linker map"):
        read_map(tmp_path / "x")


def test_size_is_there() -> None:
    done = subprocess.run(["arm-none-eabi-size", "--version"], capture_output=True, check=True)
    assert b"GNU size" in done.stdout
