"""The image stage: what is built, what is cached, what is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import Builder, random_graph, tiny_graph
from tinyrobust import boards, graph, image, resources
from tinyrobust.boards import Board
from tinyrobust.errors import BudgetError, BuildError, TinyRobustError
from tinyrobust.graph import Graph
from tinyrobust.image import compilers, hexfile, objects
from tinyrobust.image.elf import Elf
from tinyrobust.image.memory_report import MemoryReport


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> image.Image:
    out = tmp_path_factory.mktemp("build") / "h743"
    return image.build(tiny_graph(), boards.load("nucleo-h743"), out, model_name="tiny")


def sizes(elf: Path) -> dict[str, int]:
    """Section sizes as binutils see them."""
    text = subprocess.run(
        ["arm-none-eabi-size", "-A", str(elf)], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in text.splitlines() if line.startswith(".")]
    return {name: int(size) for name, size, *_ in rows}


def test_folder_holds_what_it_should(built: image.Image) -> None:
    assert built.elf.is_file() and built.bin.is_file() and built.hex.is_file()
    assert sorted(p.name for p in (built.folder / "generated").iterdir()) == [
        "model.cpp", "tr_board.cpp", "tr_image.cpp",
    ]  # fmt: skip
    meta = built.meta
    assert meta["schema"] == "tinyrobust.image/1"
    assert (meta["board"], meta["model"], meta["task"]) == ("nucleo-h743", "tiny", "synthetic")
    assert meta["graph_sha256"] == tiny_graph().sha256
    assert meta["image_sha256"] == hashlib.sha256(built.bin.read_bytes()).hexdigest()
    assert meta["input_shape"] == [8, 8, 3] and len(meta["classes"]) == 4
    assert {"name", "kernel", "macs"} <= set(meta["steps"][0])


def test_bin_is_padded_to_flash_words_and_is_what_the_elf_loads(built: image.Image) -> None:
    data = built.bin.read_bytes()
    assert len(data) % 32 == 0
    flat = built.folder / "flat.bin"
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", str(built.elf), str(flat)], check=True)
    assert flat.read_bytes() == data
    flat.unlink()
    elf = Elf(built.elf)
    assert elf.symbol["tr_image_start"].address == 0x08000000
    assert elf.symbol["tr_image_end"].address == 0x08000000 + len(data)


@pytest.mark.parametrize("base", [0, 0x08000000, 0x0800FFF8, 0x0001FFF5])
def test_hex_is_read_back_by_binutils(tmp_path: Path, base: int) -> None:
    data = np.random.default_rng(base).integers(0, 256, 200, dtype=np.uint8).tobytes()
    (tmp_path / "x.hex").write_text(hexfile.encode(base, data))
    subprocess.run(
        ["arm-none-eabi-objcopy", "-I", "ihex", "-O", "binary", "x.hex", "x.bin"],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    assert (tmp_path / "x.bin").read_bytes() == data


def test_memory_report_agrees_with_size_to_the_byte(built: image.Image) -> None:
    report, section = built.memory, sizes(built.elf)
    assert report.flash.used_bytes == len(built.bin.read_bytes())
    assert report.flash.part("weights") == section[".tr_weights"]
    assert report.flash.part("tables") == section[".tr_tables"]
    assert report.flash.part("code") == section[".text"] + section[".vectors"]
    assert report.flash.part("constants") == section[".rodata"]
    assert report.ram.part("arena") == section[".tr_arena"] == report.arena_bytes
    assert report.ram.part("buffers") == section[".tr_buffers"]
    assert report.ram.part("data") == section[".bss"] + section[".data"]
    assert report.ram.part("stack") == section[".tr_stack"] == report.stack.reserved_bytes + 32
    assert report.ram.part("code_ram") == section.get(".tr_code_ram", 0)
    ram = (".tr_arena", ".tr_buffers", ".bss", ".data", ".tr_stack", ".tr_code_ram")
    assert report.ram.used_bytes == sum(section.get(name, 0) for name in ram)
    by_region = {r.name: r.used_bytes for r in report.regions}
    assert by_region.pop("FLASH") == report.flash.used_bytes
    assert sum(by_region.values()) == report.ram.used_bytes


def test_layers_add_up_to_the_sections(built: image.Image) -> None:
    report, section = built.memory, sizes(built.elf)
    weights = sum(layer.weights_bytes for layer in report.layers)
    tables = sum(layer.tables_bytes for layer in report.layers)
    assert 0 <= section[".tr_weights"] - weights < 8  # the section ends on 8 bytes
    # besides the layers' tables the section holds the call list and the model's description
    elf = Elf(built.elf)
    own = [s for s in elf.symbols if s.section == ".tr_tables" and s.kind == "STT_OBJECT"]
    rest = sum(s.bytes for s in own if "layer" not in s.name)
    assert 0 <= section[".tr_tables"] - tables - rest < 8 * (len(own) + 1)
    assert [la.name for la in report.layers] == [s["name"] for s in built.meta["steps"]]
    assert sum(layer.macs for layer in report.layers) == 13824 + 2304 + 32


def test_code_is_split_by_folder(built: image.Image) -> None:
    code = {p.name: p.bytes for p in built.memory.code}
    assert sum(code.values()) == built.memory.flash.part("code")
    assert {"dense_t2_u8", "protocol", "stm32h7", "armv7m", "runtime", "generated"} <= set(code)
    assert code["library and alignment"] < 200  # functions are all found in some object


def test_report_survives_its_file(built: image.Image) -> None:
    assert image.load(built.folder) == built
    again = MemoryReport.from_json(built.memory.as_json(), Path("x"))
    assert again == built.memory
    assert built.memory.as_json()["schema"] == "tinyrobust.memory/1"


def test_second_build_compiles_nothing(
    built: image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    run = compilers.Compiler.run

    def counted(self: compilers.Compiler, arguments: list[str], cwd: Path, what: str) -> str:
        calls.append(what)
        return run(self, arguments, cwd, what)

    monkeypatch.setattr(compilers.Compiler, "run", counted)
    again = image.build(tiny_graph(), boards.load("nucleo-h743"), tmp_path / "b", model_name="tiny")
    assert calls == ["the link"]
    assert again.bin.read_bytes() == built.bin.read_bytes()


@pytest.mark.slow
def test_a_build_is_the_same_wherever_it_is_made(
    built: image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elf = built.elf.read_bytes()
    inside = resources.root() / "build" / f"{tmp_path.name}-{os.getpid()}"
    for n, out in enumerate((tmp_path / "another folder" / "b", inside)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{n}"))
        try:
            again = image.build(tiny_graph(), boards.load("nucleo-h743"), out, model_name="tiny")
            assert again.elf.read_bytes() == elf
        finally:
            shutil.rmtree(out, ignore_errors=True)
    for path in (resources.root(), tmp_path):
        assert str(path).encode() not in elf


def test_missing_compiler_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="apt-get install -y gcc-arm-none-eabi") as caught:
        image.build(tiny_graph(), boards.load("mps2-an500"), tmp_path / "b", model_name="tiny")
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_compile_error_shows_the_last_lines_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyrobust import codegen

    generate = codegen.generate

    def broken(plan: object) -> codegen.Generated:
        made = generate(plan)  # type: ignore[arg-type]
        files = {name: text + "\nint broken( { }\n" for name, text in made.files.items()}
        return codegen.Generated(files, made.sources, made.include_dirs, made.steps)

    monkeypatch.setattr(codegen, "generate", broken)
    out = tmp_path / "b"
    with pytest.raises(BuildError, match=r"failed on generated/model.cpp:\n(.*\n)*.*broken"):
        image.build(tiny_graph(), boards.load("nucleo-h743"), out, model_name="tiny")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    out = tmp_path / "b"
    with pytest.raises(TinyRobustError, match=r"cannot write .*b: No space left on device"):
        image.build(tiny_graph(), boards.load("nucleo-h743"), out, model_name="tiny")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_in_the_compiler_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler's own many lines of it say nothing more."""
    fake = tmp_path / "bin" / "arm-none-eabi-g++"
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo fake 1.0 && exit\n'
        "echo \"a.s: can't write 2 bytes: 'No space left on device'\" >&2; exit 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compilers._version.cache_clear()
    out = tmp_path / "b"
    try:
        with pytest.raises(TinyRobustError, match="No space left on device") as caught:
            image.build(tiny_graph(), boards.load("nucleo-h743"), out, model_name="tiny")
    finally:
        compilers._version.cache_clear()
    assert "\n" not in str(caught.value) and caught.value.exit_code == 1
    assert not [p for p in tmp_path.iterdir() if p.name not in ("bin", "cache")]


def test_an_interrupt_leaves_the_last_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b"
    first = image.build(tiny_graph(), boards.load("nucleo-h743"), out, model_name="tiny")
    before = first.elf.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hexfile, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        image.build(tiny_graph(1), boards.load("nucleo-h743"), out, model_name="tiny")
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    assert image.load(out).elf.read_bytes() == before


def shrunk(board: Board, **budget: int) -> Board:
    return board.model_copy(update={"budget": board.budget.model_copy(update=budget)})


@pytest.mark.parametrize("budget", [{"flash_bytes": 4096}, {"ram_bytes": 2048}])
def test_over_budget_writes_nothing_and_keeps_the_last_build(
    built: image.Image, tmp_path: Path, budget: dict[str, int]
) -> None:
    board, out = boards.load("nucleo-h743"), tmp_path / "b"
    first = image.build(tiny_graph(), board, out, model_name="tiny")
    before = first.elf.read_bytes()
    with pytest.raises(BudgetError, match=r"[\d,]+ B.*largest"):
        image.build(tiny_graph(), shrunk(board, **budget), out, model_name="tiny")
    assert first.elf.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_check_names_numbers_and_largest_consumers(built: image.Image) -> None:
    board = shrunk(boards.load("nucleo-h743"), flash_bytes=9000)
    with pytest.raises(BudgetError) as caught:
        image.remeasure(built, board).check()
    used = f"{len(built.bin.read_bytes()):,} B of flash"
    assert used in caught.value.message and "9,000 B" in caught.value.message
    largest = built.memory.code[0]
    assert f"largest: {largest.name} code {largest.bytes:,} B" in caught.value.message
    assert caught.value.exit_code == 1


def test_a_stack_bound_above_the_reserve_is_over_budget(built: image.Image) -> None:
    with pytest.raises(BudgetError, match=r"B of stack \(main > .*\), 256 B are reserved"):
        image.remeasure(built, shrunk(boards.load("nucleo-h743"), stack_bytes=256)).check()


@pytest.mark.slow
def test_a_large_arena_goes_to_the_memory_that_has_room(tmp_path: Path) -> None:
    b = Builder(5, (96, 96, 8))  # 73,728 bytes a tensor: with the stack more than DTCM holds
    b.conv(16)
    b.requantize()
    b.average()
    b.dense(3)
    b.requantize(scores=True)
    board = boards.load("nucleo-h743")
    big = image.build(b.graph("big"), board, tmp_path / "b", model_name="big")
    used = {r.name: {p.name: p.bytes for p in r.parts} for r in big.memory.regions}
    assert big.memory.arena_bytes > 131072
    assert used["AXI_SRAM"] == {"arena": big.memory.arena_bytes}
    assert set(used["DTCM"]) == {"stack", "buffers", "data"}
    address = Elf(big.elf).symbol["tr_arena"].address
    assert 0x24000000 <= address < 0x24080000


def test_a_foreign_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(TinyRobustError, match="not a build folder"):
        image.build(tiny_graph(), boards.load("nucleo-h743"), tmp_path, model_name="tiny")
    assert (tmp_path / "thesis.tex").read_text() == "x"


@pytest.mark.parametrize("name", ["image.json", "memory.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_damaged_records_are_build_errors(
    built: image.Image, tmp_path: Path, name: str, text: str
) -> None:
    for path in built.folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_text(text)
    with pytest.raises(BuildError):
        image.load(tmp_path)


def test_another_bin_or_elf_is_noticed(built: image.Image, tmp_path: Path) -> None:
    for path in built.folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    data = bytearray(built.bin.read_bytes())
    data[100] ^= 1
    (tmp_path / "firmware.bin").write_bytes(data)
    with pytest.raises(BuildError, match="not the image"):
        image.load(tmp_path)
    with pytest.raises(BuildError, match="no built image"):
        image.load(tmp_path / "none")
    (tmp_path / "firmware.bin").write_bytes(built.bin.read_bytes())
    program = bytearray(built.elf.read_bytes())
    program[program.index(built.bin.read_bytes()[1000:1100])] ^= 1  # one instruction, same sizes
    (tmp_path / "firmware.elf").write_bytes(program)
    with pytest.raises(BuildError, match=r"is not the program in firmware.bin"):
        image.remeasure(image.load(tmp_path), boards.load("nucleo-h743"))
    (tmp_path / "firmware.elf").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(BuildError, match="cannot read the ELF"):
        Elf(tmp_path / "firmware.elf")


def images(net: Graph, n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *net.input.shape), dtype=np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_host_library_equals_the_interpreter(tmp_path: Path, seed: int) -> None:
    net = random_graph(seed)
    model = image.HostModel(image.host_library(net, tmp_path))
    x = images(net, 5)
    assert np.array_equal(model.predict(x), graph.run(net, x))
    expected = graph.trace(net, x)
    found = model.trace(x[2])
    assert net.output.name in found and len(found) >= 3
    for name, values in found.items():
        assert np.array_equal(values, expected[name][2]), name


def test_two_builds_of_one_name_are_two_models(tmp_path: Path) -> None:
    a, b = tiny_graph(1), tiny_graph(2)
    first = image.HostModel(image.host_library(a, tmp_path))
    second = image.HostModel(image.host_library(b, tmp_path))
    x = images(a, 4)
    assert np.array_equal(first.predict(x), graph.run(a, x))
    assert np.array_equal(second.predict(x), graph.run(b, x))
    assert not np.array_equal(first.predict(x), second.predict(x))


@pytest.mark.slow
def test_sanitized_library_finds_nothing(tmp_path: Path) -> None:
    """Address and undefined-behaviour checks over runtime and kernels, in a process of its own."""
    import sys

    net = random_graph(7)
    path = image.host_library(net, tmp_path, sanitize=True)
    np.save(tmp_path / "x.npy", images(net, 3))
    program = (
        "import sys, numpy as np; from pathlib import Path; from tinyrobust import image;"
        "m = image.HostModel(Path(sys.argv[1])); x = np.load(sys.argv[2]);"
        "m.trace(x[0]); np.save(sys.argv[3], m.predict(x))"
    )
    asan = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    done = subprocess.run(
        [sys.executable, "-c", program, path, tmp_path / "x.npy", tmp_path / "y.npy"],
        env={
            "LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0", "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(p for p in sys.path if p),
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.array_equal(np.load(tmp_path / "y.npy"), graph.run(net, images(net, 3)))


def test_a_header_edited_during_a_compilation_is_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    header = tmp_path / "include" / "edited.hpp"
    header.parent.mkdir()
    header.write_text("// before\n")
    (tmp_path / "a.cpp").write_text("int one() { return 1; }\n")
    compiler = compilers.for_board(boards.load("nucleo-h743"))
    run = compilers.Compiler.run

    def edit(self: compilers.Compiler, arguments: list[str], cwd: Path, what: str) -> str:
        header.write_text("// after\n")
        return run(self, arguments, cwd, what)

    monkeypatch.setattr(compilers.Compiler, "run", edit)
    source = objects.Source(tmp_path / "a.cpp", "a.cpp")
    with pytest.raises(BuildError, match=r"a\.cpp changed while it was compiled"):
        objects.compile_all([source], compiler, [header.parent], tmp_path / "out")
    assert not list((tmp_path / "cache").rglob("object.o"))
