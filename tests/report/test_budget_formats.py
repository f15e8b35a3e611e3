"""`tinyrobust budget` in other people's CI: a change that grows a layer, in every format."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import xmlschema

from tests.graphs import Builder, tiny_graph
from tests.library_builds import M4, PROJECTS
from tests.library_builds import build as build_library
from tinyrobust import library
from tinyrobust.cli.budget import FORMATS
from tinyrobust.cli.main import run
from tinyrobust.graph import file
from tinyrobust.graph.nodes import Graph
from tinyrobust.image import budget
from tinyrobust.report.budget import formats, github
from tinyrobust.report.budget._rows import readable

BOARD = "nucleo-h743"


def net(channels: int) -> Graph:
    """Three layers, the second as wide as is said."""
    b = Builder(3, (8, 8, 3))
    b.conv(8)
    b.requantize()
    b.conv(channels)
    b.requantize()
    b.average()
    b.dense(4)
    b.requantize(scores=True)
    return b.graph("net")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """(baseline of a network, build folder of the one with a wider layer, that layer's name)."""
    folder = tmp_path_factory.mktemp("pair")
    for channels in (8, 24):
        path = folder / f"{channels}.graph.npz"
        file.save(net(channels), path)
        out = str(folder / str(channels))
        assert run(["build", "--board", BOARD, "--model", str(path), "--no-code-in-ram",
                    "--optimize", "speed", "--out", out]) == 0  # fmt: skip
    assert run(["budget", str(folder / "8"), "--save", str(folder / "base.json")]) == 0
    wide = next(node.name for node in net(24).nodes if node.output == net(24).nodes[3].output)
    return folder / "base.json", folder / "24", wide


@pytest.fixture(autouse=True)
def not_on_github(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (github.STEP_OUTPUT, github.STEP_SUMMARY):
        monkeypatch.delenv(name, raising=False)


def test_every_format_is_offered() -> None:
    assert set(FORMATS) == set(formats())


def test_a_layer_that_grows_fails_in_every_format(
    pair: tuple[Path, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    baseline, folder, _ = pair
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    (tmp_path / "output").write_text("earlier=1\n")
    words = [f"--format={name}={tmp_path / name}" for name in FORMATS if name != "github"]
    assert run(["budget", str(folder), "--baseline", str(baseline), "--format", "github", *words,
                "--max-growth-flash", "1%", "--max-flash", "1M"]) == 1  # fmt: skip
    out = capsys.readouterr()
    made = json.loads((tmp_path / "json").read_text())
    grown = made["difference"]["owners"]
    layer = max((r for r in grown if r["kind"] == "layer" and r["memory"] == "flash"),
                key=lambda r: r["change"])  # fmt: skip
    assert layer["change"] > 100 and layer["before"] > 0
    change = made["difference"]["totals"]["flash"]

    # GitHub: an error with the numbers and the layer, and the files that the runner names
    (error,) = [line for line in out.out.splitlines() if line.startswith("::error ")]
    assert re.match(r"::error title=[^:,]+::flash changed by \+", error)
    assert f"{change:+,} B" in error and f"layer {layer['owner']} {layer['change']:+,} B" in error
    assert "1%25 allows" in error
    outputs = dict(line.split("=") for line in (tmp_path / "output").read_text().splitlines())
    assert outputs["earlier"] == "1" and outputs["fits"] == "false"
    assert int(outputs["flash-change"]) == change
    assert int(outputs["flash-bytes"]) == made["totals"]["flash"]["used_bytes"]
    assert "flash changed by" in out.err  # and the command says it as it says every error

    # Markdown: the summary is the same, with the layer's row
    text = (tmp_path / "markdown").read_text()
    assert (tmp_path / "summary.md").read_text() == text
    row = f"| flash | layer | {layer['owner']} | {layer['before']:,} | {layer['after']:,} "
    assert row in text and "does not fit" in text
    assert f"{layer['change']:+,} |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") - line.count("\\|") >= 3 for line in tables)

    # JUnit: one failure among the checks, in a document that servers accept
    schema = xmlschema.XMLSchema(str(PROJECTS / "junit.xsd"))
    schema.validate(str(tmp_path / "junit"))
    suites = schema.to_dict(str(tmp_path / "junit"))
    (suite,) = suites["testsuite"]
    failed = [case for case in suite["testcase"] if "failure" in case]
    assert len(failed) == suite["@failures"] == 1 and suite["@tests"] == len(suite["testcase"])
    assert f"layer {layer['owner']}" in str(failed)

    # the table, for people
    assert layer["owner"] in (tmp_path / "table").read_text()


def test_the_schema_refuses_what_is_no_junit(tmp_path: Path) -> None:
    schema = xmlschema.XMLSchema(str(PROJECTS / "junit.xsd"))
    assert not schema.is_valid("<testsuites><testsuite name='x'/></testsuites>")


def test_the_difference_adds_up(pair: tuple[Path, Path, str], tmp_path: Path) -> None:
    baseline, folder, _ = pair
    out = tmp_path / "now.json"
    assert run(["budget", str(folder), "--baseline", str(baseline), "--save", str(out)]) == 0
    made, before = json.loads(out.read_text()), json.loads(baseline.read_text())
    for memory in ("flash", "RAM"):
        change = made["difference"]["totals"][memory]
        assert (
            change == made["totals"][memory]["used_bytes"] - before["totals"][memory]["used_bytes"]
        )
        for kind in ("owners", "symbols"):
            rows = [r for r in made["difference"][kind] if r["memory"] == memory]
            assert sum(r["change"] for r in rows) == change
        total = made["totals"][memory]["used_bytes"]
        for kind in ("owners", "parts", "symbols"):
            assert sum(r["bytes"] for r in made[kind] if r["memory"] == memory) == total
    assert sum(r["change"] for r in made["difference"]["regions"]) == sum(
        made["difference"]["totals"].values()
    )
    report = made["memory"]
    assert made["totals"]["flash"]["used_bytes"] == report["flash"]["used_bytes"]
    assert made["totals"]["RAM"]["used_bytes"] == report["ram"]["used_bytes"]
    regions = {r["name"]: r["used_bytes"] for r in made["regions"]}
    assert regions == {r["name"]: r["used_bytes"] for r in report["regions"] if r["used_bytes"]}


def test_nothing_has_changed(
    pair: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    baseline, folder, _ = pair
    old = folder.parent / "8"
    assert run(["budget", str(old), "--baseline", str(baseline), "--max-growth-flash", "0",
                "--max-growth-ram", "0%", "--format", "markdown"]) == 0  # fmt: skip
    assert "No byte has changed its owner" in capsys.readouterr().out
    # and smaller is no growth
    assert run(["budget", str(folder), "--save", str(tmp_path / "wide.json")]) == 0
    assert run(["budget", str(old), "--baseline", str(tmp_path / "wide.json"),
                "--max-growth-flash", "0"]) == 0  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-flash", "12K"], "more than --max-flash, 12,288 B"),
        (["--max-ram", "9000"], "more than --max-ram, 9,000 B"),
        (["--max-region", "DTCM=1K"], "more than --max-region, 1,024 B"),
        (["--max-growth-flash", "1"], "--max-growth-flash 1 allows +1 B"),
        (["--max-growth-ram", "0.1%"], "--max-growth-ram 0.1%25 allows +"),
    ],
)
def test_every_limit_can_fail(
    pair: tuple[Path, Path, str], options: list[str], words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    baseline, folder, _ = pair
    assert run(["budget", str(folder), "--baseline", str(baseline), "--format", "github",
                *options]) == 1  # fmt: skip
    assert words in capsys.readouterr().out
    options[-1] = {"--max-region": "DTCM=100K"}.get(options[0], "900K")
    assert run(["budget", str(folder), "--baseline", str(baseline), "--format", "github",
                *options]) == 0  # fmt: skip


def test_near_a_limit_is_a_warning(
    pair: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder, _ = pair
    flash = json.loads((folder / "memory.json").read_text())["flash"]["used_bytes"]
    words = ["budget", str(folder), "--format", "github", "--max-flash", str(flash + 100)]
    assert run(words) == 0
    assert "::warning title=" in capsys.readouterr().out
    assert run([*words, "--warn-at", "100"]) == 0
    assert "::warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--format", "xml"], 1, "is not FORMAT or FORMAT=FILE"),
        (["--format", "json", "--format", "github"], 1, "only one can go to standard output"),
        (["--max-region", "DTCM"], 1, "is not NAME=BYTES"),
        (["--max-region", "SDRAM=1K"], 1, "no region 'SDRAM'"),
        (["--max-growth-flash", "much"], 1, "is not a growth such as"),
        (["--max-growth-flash", "1%"], 1, "needs a baseline"),
        (["--baseline", "none.json"], 1, "cannot read none.json: No such file"),
        (["--map", "x.map"], 1, "--map belongs to an ELF"),
    ],
)
def test_wrong_words(
    pair: tuple[Path, Path, str], options: list[str], code: int, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run(["budget", str(pair[1]), *options]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"schema": "tinyrobust.budget/1"}', "DAMAGED"]
)
def test_a_damaged_baseline_is_said_to_be(
    content: str, pair: tuple[Path, Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content == "DAMAGED":
        data = json.loads(pair[0].read_text())
        data["owners"][0] = 3
        content = json.dumps(data)
    (tmp_path / "base.json").write_text(content)
    assert run(["budget", str(pair[1]), "--baseline", str(tmp_path / "base.json")]) == 1
    assert "baseline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "baseline", "allowed"),
    [("1%", 20_000, 200), ("0.5 %", 20_000, 100), ("512", 7, 512), ("2K", 0, 2048), ("0", 9, 0),
     ("1.5K", 0, 1536), ("10b", 0, 10)],
)  # fmt: skip
def test_growths(text: str, baseline: int, allowed: int) -> None:
    assert budget.growth(text).allowed(baseline) == allowed


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("_ZN12_GLOBAL__N_1L15layer02_weightsE", "layer02_weights"),
        ("_ZN2tr12conv2d_tg_u8ERKNS_6Conv2DERKNS_7BuffersEmm", "tr::conv2d_tg_u8"),
        ("_ZNK2tr8Receiver6headerEv", "tr::Receiver::header"), ("_ZL9kCommands", "kCommands"),
        ("tr_arena", "tr_arena"), ("(padding)", "(padding)"), ("_ZTV5Print", "_ZTV5Print"),
    ],
)  # fmt: skip
def test_symbols_are_readable(symbol: str, name: str) -> None:
    assert readable(symbol) == name


def test_what_cannot_be_built_is_told_in_every_format_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file.save(tiny_graph(), tmp_path / "tiny.graph.npz")
    from tinyrobust import resources

    text = (resources.root() / "boards" / f"{BOARD}.yaml").read_text()
    small = text.replace("flash_bytes: 0x200000", "flash_bytes: 0x2800")
    (tmp_path / "small.yaml").write_text(small)
    words = ["budget", "--build", "--model", "tiny.graph.npz"]
    others = [f"--format={name}={name}.out" for name in FORMATS if name != "github"]
    assert run([*words, "--board", "./small.yaml", "--format", "github", *others]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^::error title=[^:]+::needs at least [\d,]+ B of flash", said, re.MULTILINE)
    schema = xmlschema.XMLSchema(str(PROJECTS / "junit.xsd"))
    schema.validate("junit.out")
    assert json.loads(Path("json.out").read_text())["fits"] is False
    assert "does not fit" in Path("markdown.out").read_text()
    assert run([*words, "--board", BOARD, "--format", "github"]) == 0  # builds, and it fits
    assert (tmp_path / "build" / BOARD / "tiny" / "firmware.elf").is_file()


@pytest.mark.slow
def test_a_project_with_an_exported_library_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any ELF: its layers and kernels are found, with the linker's map and without."""
    made = library.export(tiny_graph(), library.generic_board("cortex-m4"), tmp_path / "library",
                          format="c-array", model="tiny")  # fmt: skip
    elf = build_library("c-array", made.folder, M4, tmp_path / "work")
    maps = {"map": ["--map", str(elf.parent / "program.map")], "symbols": []}
    for name, words in maps.items():
        out = str(tmp_path / f"{name}.json")
        assert run(["budget", str(elf), *words, "--save", out, "--format", "github"]) == 0
        kinds: dict[str, set[str]] = {}
        for row in json.loads(Path(out).read_text())["owners"]:
            kinds.setdefault(row["kind"], set()).add(row["owner"])
        assert {s.kernel for s in made.package.plan.steps} == kinds["kernel"]
        assert {f"layer{i:02d}" for i in range(len(made.package.plan.steps))} == kinds["layer"]
        assert ("library" in kinds) is (name == "map")
    words = ["--baseline", str(tmp_path / "symbols.json"), "--max-growth-flash", "0"]
    assert run(["budget", str(elf), *words, "--max-flash", "8K", "--format", "github"]) == 1
    assert "more than --max-flash, 8,192 B" in capsys.readouterr().out
