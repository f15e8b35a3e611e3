"""What an exported library consists of, how it is written, and its interface in C."""

from __future__ import annotations

import configparser
import ctypes
import hashlib
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from tests.graphs import tiny_graph
from tests.int8_networks import network
from tests.library_builds import run
from tests.tflite_models import two_and_two
from tinyrobust import boards, library, memory
from tinyrobust.boards.cores import CORES
from tinyrobust.cli.main import run as tinyrobust
from tinyrobust.errors import BudgetError, TinyRobustError
from tinyrobust.graph import file, interpreter, ports
from tinyrobust.library._names import identifier
from tinyrobust.tflite import importer as tflite

FORMATS = sorted(library.formats())
BOARD = library.generic_board("cortex-m4")


def export(folder: Path, format: str = "c-array", **more: object) -> library.Library:
    options = {"format": format, "model": "tiny", **more}
    return library.export(tiny_graph(), BOARD, folder, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=FORMATS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """(format, the library)."""
    return request.param, export(tmp_path_factory.mktemp("made") / "lib", request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A c-array library as objects, program and shared library, quickly compiled."""
    folder = tmp_path_factory.mktemp("plain") / "lib"
    built = export(folder)
    run(["make", "-j2", "CFLAGS=-O0 -fPIC", "CXXFLAGS=-O0 -fPIC"], folder)
    objects = [folder / "build" / f"{Path(s).stem}.o" for s in built.package.compiled]
    run(["gcc", "-shared", *objects, "-o", "tiny.so"], folder)
    return folder


@pytest.mark.parametrize("format", FORMATS)
def test_a_models_name_is_never_code(format: str, tmp_path: Path) -> None:
    model = 'a"; $(shell,touch pwned)\nmessage(FATAL_ERROR pwned)\nname=*/ <b>`x`\x1b[31m\\'
    built = export(tmp_path / "lib", format, model=model, name="tiny")
    plain = export(tmp_path / "plain", format, model="plain", name="tiny")
    for path, content in plain.package.sources.items():
        hostile = built.package.sources[path]
        assert [hostile.count(end) for end in ("\n", "*/")] == [
            content.count(end) for end in ("\n", "*/")
        ]
    for path in sorted(p for p in built.folder.rglob("*") if p.is_file()):
        text = path.read_text()
        if path.name in ("tinyrobust.json", "library.json"):
            json.loads(text)
            continue
        lines = text.count("\n")
        assert lines == (tmp_path / "plain" / path.relative_to(built.folder)).read_text().count(
            "\n"
        )
        assert "\x1b" not in text and "\nmessage(" not in text and "\nname=*/" not in text
        if path.name == "Kconfig":
            assert "$(shell" not in text and text.count('"') == 2
        if path.suffix == ".md":
            assert "<b>" not in text
        if path.suffix == ".yaml":
            assert "Network" in text or YAML(typ="safe").load(text)["sample"]["description"]


def test_the_manifest_names_graph_versions_and_every_file(made: tuple) -> None:
    format, built = made
    manifest = json.loads((built.folder / "tinyrobust.json").read_text())
    assert manifest["schema"] == "tinyrobust.library/1" and manifest["format"] == format
    assert manifest["graph_sha256"] == tiny_graph().sha256
    assert set(manifest["versions"]) == {"tinyrobust", "python"}
    there = {p.relative_to(built.folder).as_posix() for p in built.folder.rglob("*") if p.is_file()}
    assert there == {*manifest["files"], "tinyrobust.json"}
    for path, digest in manifest["files"].items():
        assert hashlib.sha256((built.folder / path).read_bytes()).hexdigest() == digest
    assert "Apache License" in (built.folder / "LICENSE").read_text()
    assert [layer["kernel"] for layer in manifest["layers"]]


def test_nothing_of_this_computer_or_of_the_firmware_is_in_it(made: tuple) -> None:
    _, built = made
    for path in built.folder.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert str(Path.home()) + "/" not in text and str(built.folder) not in text
            for name in re.findall(r'#\s*include "([^"]+)"', text):
                assert name.startswith("tiny") and "/" not in name, path
    names = " ".join(built.package.sources)
    assert "protocol" not in names and "port" not in names and "runtime.cpp" not in names
    kernels = {step.kernel for step in built.package.plan.steps}
    assert {n for n in kernels if f"tiny_{n}.cpp" in built.package.sources} == kernels


def test_equal_graphs_give_equal_files(tmp_path: Path) -> None:
    one, two = export(tmp_path / "one"), export(tmp_path / "two")
    assert one.manifest == two.manifest


def test_a_library_of_ours_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "lib"
    (out / "src").mkdir(parents=True)
    (out / "src" / "mine.c").write_text("int x;\n")
    with pytest.raises(TinyRobustError, match="is not a library that tinyrobust wrote"):
        export(out)
    assert (out / "src" / "mine.c").read_text() == "int x;\n"
    out = tmp_path / "ours"
    export(out)
    export(out, "cmake")  # unchanged: of another format now
    assert (out / "CMakeLists.txt").is_file() and not (out / "Makefile").exists()
    (out / "examples" / "stdio" / "main.c").write_text("/* my own */\n")
    (out / "notes.txt").write_text("mine\n")
    with pytest.raises(TinyRobustError, match=r"notes.txt is not of it, .*main.c was changed"):
        export(out)
    assert (out / "notes.txt").is_file()
    export(out, overwrite=True)
    assert not (out / "notes.txt").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_failed_export_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "lib"
    before = export(out).manifest

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinyrobust.library._write.write_text", full)
    with pytest.raises(TinyRobustError, match="No space left"):
        export(out, "arduino")
    assert json.loads((out / "tinyrobust.json").read_text()) == before
    assert [p.name for p in tmp_path.iterdir()] == ["lib"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("shapes-small", "shapes_small"), ("KWS.v2", "kws_v2"), ("int", "model_int"),
        ("F", "model_f"), ("B0", "model_b0"), ("3d", "model_3d"), ("min", "model_min"),
        ("--", None), ("x" * 60, "x" * 40), ("Zürich", "z_rich"),
    ],
)  # fmt: skip
def test_names_are_identifiers_that_nobody_has(text: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(TinyRobustError, match="no letter or digit"):
            identifier(text)
    else:
        assert identifier(text) == name


def test_example_program_equals_the_interpreter(plain: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, *tiny_graph().input.shape), np.uint8)
    done = subprocess.run(
        [plain / "example"], input=images.tobytes(), capture_output=True, check=True
    )
    got = [
        [int(n) for n in line.split(":")[1].split()] for line in done.stdout.decode().splitlines()
    ]
    np.testing.assert_array_equal(got, interpreter.run(tiny_graph(), images))


def test_its_interface_refuses_what_it_cannot_use(plain: Path) -> None:
    tiny = ctypes.CDLL(str(plain / "tiny.so"))
    for name in ("tiny_input", "tiny_scores", "tiny_label", "tiny_status_text"):
        getattr(tiny, name).restype = ctypes.c_void_p
    size = int(re.search(r"TINY_ARENA_BYTES (\d+)", (plain / "tiny.h").read_text())[1])  # type: ignore[index]
    block = np.zeros(size + 16, np.uint8)
    arena = block.ctypes.data + -block.ctypes.data % 8
    model = ctypes.c_void_p(0)
    ref = ctypes.byref(model)
    assert tiny.tiny_invoke(ref) == 3 and tiny.tiny_input(ref) is None
    assert tiny.tiny_scores(ref) is None and tiny.tiny_argmax(ref) == 0
    assert tiny.tiny_init(None, ctypes.c_void_p(arena), ctypes.c_size_t(size)) == 3
    assert tiny.tiny_init(ref, None, ctypes.c_size_t(size)) == 1
    assert tiny.tiny_init(ref, ctypes.c_void_p(arena), ctypes.c_size_t(size - 1)) == 1
    assert tiny.tiny_init(ref, ctypes.c_void_p(arena + 4), ctypes.c_size_t(size)) == 2
    assert tiny.tiny_invoke(ref) == 3  # what was refused is not used
    assert tiny.tiny_init(ref, ctypes.c_void_p(arena), ctypes.c_size_t(size)) == 0
    assert arena <= tiny.tiny_input(ref) < arena + size and tiny.tiny_invoke(ref) == 0
    labels = tiny_graph().labels
    assert ctypes.string_at(tiny.tiny_label(len(labels) - 1)).decode() == labels[-1]
    assert ctypes.string_at(tiny.tiny_label(len(labels))) == b""
    words = {ctypes.string_at(tiny.tiny_status_text(code)) for code in range(5)}
    assert len(words) == 5 and b"no such status" in words
    assert not block[: arena - block.ctypes.data].any()
    assert not block[arena - block.ctypes.data + size :].any()


def test_it_has_no_variables_and_needs_no_library(plain: Path) -> None:
    objects = sorted((plain / "build").glob("tiny*.o"))
    sizes = re.findall(r"^(\.\S+) +(\d+) ", run(["size", "-A", *objects], plain), re.MULTILINE)
    assert len(sizes) > len(objects)
    writable = (".bss", ".data", ".tbss", ".tdata")  # .data.rel.ro is constant, behind a loader
    assert not [row for row in sizes if row[0] in writable and row[1] != "0"]
    wanted = run(["nm", "--undefined-only", plain / "tiny.so"], plain)
    assert not re.findall(r" U (?!memcpy|memset|memmove)(\w+)", wanted)


@pytest.mark.parametrize(
    "compiler",
    [["gcc", "-std=c99", "-pedantic"], ["gcc", "-std=c11", "-pedantic"], ["g++", "-std=c++11"],
     ["g++", "-std=c++20"], ["clang", "-std=c99", "-pedantic"]],
    ids=" ".join,
)  # fmt: skip
def test_the_header_stands_by_itself(compiler: list[str], plain: Path, tmp_path: Path) -> None:
    suffix = ".c" if "++" not in compiler[0] else ".cpp"
    source = tmp_path / f"use{suffix}"
    core = Path(__file__).parents[1] / "projects" / "arduino_core"
    source.write_text(
        f'#include "{core / "Arduino.h"}"\n#include "tiny.h"\n#include "tiny.h"\n'
        "int use(tiny_t* model);\nint use(tiny_t* model) { return (int)tiny_invoke(model); }\n"
    )
    run([*compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{plain}", source], tmp_path)


def test_weights_of_c_arrays_are_arrays(tmp_path: Path) -> None:
    built = export(tmp_path / "lib")
    data = built.package.sources["tiny_data.c"]
    assert re.search(r"^const uint32_t tiny_layer\d\d_weights\[\d+\]", data, re.MULTILINE)
    assert "TR_BLOCK" not in built.package.sources["tiny_model.cpp"]
    free = memory.plan(tiny_graph(), BOARD, aim=memory.Aim("speed", code_in_ram=False))
    assert any(s.kernel.endswith("tcc_u8") for s in free.steps)  # else this shows nothing


@pytest.mark.parametrize("format", FORMATS)
def test_code_in_ram_is_for_those_who_can_have_it(format: str, tmp_path: Path) -> None:
    aim = memory.Aim(code_in_ram=True)
    allowed = format in ("cmake", "c-array")
    assert bool(library.formats()[format].code_in_ram) is not allowed
    if not allowed:
        with pytest.raises(TinyRobustError, match=f"{format} takes no code in RAM"):
            export(tmp_path / "lib", format, aim=aim)
        return
    with pytest.raises(TinyRobustError, match="has no DSP instructions"):
        library.export(tiny_graph(), library.generic_board("host"), tmp_path / "lib",
                       format=format, model="tiny", aim=aim)  # fmt: skip


@pytest.mark.parametrize("core", CORES)
def test_a_library_for_every_core(core: str, tmp_path: Path) -> None:
    board = library.generic_board(core)
    built = library.export(network(3), board, tmp_path / "lib", format="arduino", model="net")
    config = built.package.sources["net_config.h"]
    assert ("kernels were chosen for a core without DSP" in config) is not (
        "They use the DSP instructions" in config
    )
    assert not built.package.facts["needs_dsp"] and built.manifest["code_ram_bytes"] == 0


def test_limits_hold_as_in_build(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="of flash"):
        export(tmp_path / "lib", aim=memory.Aim("size", max_flash_bytes=10_000, code_in_ram=False))
    assert not (tmp_path / "lib").exists()


def test_arduinos_files(tmp_path: Path) -> None:
    """https://arduino.github.io/arduino-cli/latest/library-specification"""
    folder = export(tmp_path / "lib", "arduino", version="1.2.3").folder
    text = (folder / "library.properties").read_text()
    properties = dict(line.split("=", 1) for line in text.splitlines())
    assert {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url",
            "architectures"} <= properties.keys()  # fmt: skip
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", properties["name"])
    assert properties["version"] == "1.2.3" and properties["category"] == "Data Processing"
    assert (folder / "src" / properties["includes"]).is_file()
    assert "avr" not in properties["architectures"].split(",")
    assert not [p for p in (folder / "src").iterdir() if p.is_dir()]
    for line in (folder / "keywords.txt").read_text().splitlines():
        assert re.fullmatch(r"\w+\t(KEYWORD[123]|LITERAL1)", line)
    for source in (folder / "src").glob("*.cpp"):  # the IDE asks for size, the kernels for speed
        assert '#pragma GCC optimize("O3")' in source.read_text()
    header = (folder / "src" / "tiny.h").read_text()
    words = [line.split("\t")[0] for line in (folder / "keywords.txt").read_text().splitlines()]
    assert all(re.search(rf"\b{word}\b", header) for word in words)


def test_platformios_files(tmp_path: Path) -> None:
    """https://docs.platformio.org/en/latest/manifests/library-json/"""
    folder = export(tmp_path / "lib", "platformio").folder
    manifest = json.loads((folder / "library.json").read_text())
    documented = {"name": str, "version": str, "description": str, "keywords": list, "license": str,
                  "headers": str, "frameworks": str, "platforms": str, "build": dict,
                  "examples": list, "$schema": str}  # fmt: skip
    assert {key: type(value) for key, value in manifest.items()} == documented
    assert not re.search(r"[:@/\\]", manifest["name"]) and len(manifest["name"]) <= 100
    assert set(manifest["build"]) <= {"flags", "srcDir", "includeDir", "srcFilter", "libArchive"}
    assert all(1 < len(word) <= 50 and word == word.lower() for word in manifest["keywords"])
    assert (folder / manifest["build"]["includeDir"] / manifest["headers"]).is_file()
    for example in manifest["examples"]:
        assert set(example) == {"name", "base", "files"}
        assert all((folder / example["base"] / name).is_file() for name in example["files"])
        project = configparser.ConfigParser()
        project.read(folder / example["base"] / "platformio.ini")
        environments = [s for s in project.sections() if s.startswith("env:")]
        assert environments and all(project[s]["platform"] for s in environments)


def test_zephyrs_files(tmp_path: Path) -> None:
    """https://docs.zephyrproject.org/latest/develop/modules.html"""
    folder = export(tmp_path / "lib", "zephyr").folder
    module = YAML(typ="safe").load((folder / "zephyr" / "module.yml").read_text())
    assert set(module) == {"name", "build", "samples"}
    assert (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    kconfig = (folder / module["build"]["kconfig"]).read_text()
    options = re.findall(r"^config (\w+)$", kconfig, re.MULTILINE)
    assert len(options) == 1 and re.search(r"^\tbool \"", kconfig, re.MULTILINE)
    prj = (folder / "samples" / "serial" / "prj.conf").read_text()
    assert f"CONFIG_{options[0]}=y" in prj and "CONFIG_CPP=y" in prj
    assert f"if(CONFIG_{options[0]})" in (folder / "zephyr" / "CMakeLists.txt").read_text()
    sample = YAML(typ="safe").load((folder / "samples" / "serial" / "sample.yaml").read_text())
    assert set(sample) == {"sample", "tests"}


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file.save(tiny_graph(), tmp_path / "tiny.graph.npz")
    words = ["export", "--model", "tiny.graph.npz", "--format"]
    assert tinyrobust([*words, "arduino", "--no-measure", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["schema"] == "tinyrobust.export/1" and result["folder"] == "export/arduino/tiny"
    assert result["manifest"]["core"] == "cortex-m4" and result["measured"] is None
    for wrong, message in (
        (["arduino", "--core", "cortex-m5"], "did you mean 'cortex-m"),
        (["arduino", "--core", "host", "--board", "host"], "not both"),
        (["makefile"], "is none of arduino, c-array"),
        (["cmake", "--library-version", "1.x"], "no version"),
        (["zephyr", "--code-in-ram"], "zephyr takes no code in RAM"),
        (["cmake", "--name", "--"], "no letter or digit"),
    ):
        assert tinyrobust([*words, *wrong, "--out", "new"]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_its_size_is_shown_beside_the_firmwares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file.save(tiny_graph(), tmp_path / "tiny.graph.npz")
    words = ["export", "--model", "tiny.graph.npz", "--board", "nucleo-h743", "--json", "-"]
    assert tinyrobust([*words, "--format", "cmake"]) == 0
    out = capsys.readouterr()
    measured = json.loads(out.out)["measured"]
    own, whole = measured["library"], measured["firmware"]
    assert own["flash_bytes"] == own["code_bytes"] + own["constants_bytes"]
    assert own["data_bytes"] == 0 and own["ram_bytes"] == own["arena_bytes"]
    assert own["arena_bytes"] == whole["arena_bytes"]
    assert 0.2 * whole["flash_bytes"] < own["flash_bytes"] < whole["flash_bytes"]
    assert f"{own['flash_bytes']:,} B" in out.err and f"{whole['flash_bytes']:,} B" in out.err
    limit = boards.load("nucleo-h743").budget
    assert whole["ram_bytes"] < limit.ram_bytes


class _Tensor(ctypes.Structure):
    """<name>_tensor of the header."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("name", ctypes.c_char_p), ("count", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32), ("shape", ctypes.c_uint32 * 3), ("rank", ctypes.c_uint8),
        ("type", ctypes.c_uint8), ("zero_point", ctypes.c_int32), ("scale", ctypes.c_float),
    )  # fmt: skip


def test_inputs_and_outputs_by_index_and_by_name(tmp_path: Path) -> None:
    net = tflite.from_bytes(two_and_two(), name="two")
    made = library.export(net, BOARD, tmp_path / "lib", format="c-array", model="two")
    run(["make", "-j2", "CFLAGS=-O0 -fPIC", "CXXFLAGS=-O0 -fPIC"], made.folder)
    objects = [made.folder / "build" / f"{Path(s).stem}.o" for s in made.package.compiled]
    run(["gcc", "-shared", *objects, "-o", "two.so"], made.folder)
    two = ctypes.CDLL(str(made.folder / "two.so"))
    for name in ("two_input_tensor", "two_output_tensor"):
        getattr(two, name).restype = _Tensor
    memory_ = np.zeros(1 << 16, np.uint8)
    start = -memory_.ctypes.data % 8
    model = ctypes.c_void_p()
    ref = ctypes.byref(model)
    assert two.two_input_tensor(ref, 0).data is None
    assert two.two_init(ref, ctypes.c_void_p(memory_.ctypes.data + start), 1 << 15) == 0
    assert [two.two_find_input(n) for n in (b"vector", b"map", b"sum", b"", None)] == [
        1, 0, -1, -1, -1
    ]  # fmt: skip
    assert [two.two_find_output(n) for n in (b"half", b"sum", b"su")] == [1, 0, -1]
    vector, half = two.two_input_tensor(ref, 1), two.two_output_tensor(ref, 1)
    assert (vector.name, vector.type, vector.zero_point, vector.bytes) == (b"vector", 0, 120, 6)
    assert [*half.shape][: half.rank] == [3, 4, 2] and half.scale == np.float32(0.2)
    assert two.two_output_tensor(ref, 2).data is None and two.two_reset_state(ref) == 0
    samples = ports.random_samples(net, 5, 3)
    for sample, expected in zip(samples, interpreter.run(net, samples), strict=True):
        at = 0
        for i in range(2):
            tensor = two.two_input_tensor(ref, i)
            ctypes.memmove(tensor.data, sample[at:].tobytes(), tensor.bytes)
            at += tensor.bytes
        assert two.two_invoke(ref) == 0
        outputs = [two.two_output_tensor(ref, i) for i in range(2)]
        found = b"".join(ctypes.string_at(o.data, o.bytes) for o in outputs)
        assert np.frombuffer(found, np.int8).tolist() == expected.tolist()
    header = (made.folder / "two.h").read_text()
    assert 'output 1 "half": int8_t 3 x 4 x 2' in header and "TWO_CLASSES" not in header
    assert (made.folder / "example").is_file()
