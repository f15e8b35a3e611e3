"""Wrong files, names and places on the command line: one clear line, the right exit code, and
nothing half-written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.graphs import tiny_graph
from tinyrobust import resources
from tinyrobust.cli.main import run
from tinyrobust.graph import file

Says = Callable[..., str]
BOARD = "nucleo-h743"


@pytest.fixture
def says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Says:
    """Run a command that must fail; returns its error line and checks that it is just one."""
    monkeypatch.chdir(tmp_path)
    file.save(tiny_graph(), tmp_path / "tiny.graph.npz")

    def call(*args: str, code: int = 1) -> str:
        capsys.readouterr()
        assert run(args) == code
        said = capsys.readouterr()
        lines = [line for line in said.err.splitlines() if line.strip()]
        assert "Traceback" not in said.err
        start = next(i for i, line in enumerate(lines) if line.lower().startswith("error: "))
        rest = lines[start + 1 :]
        assert len(rest) <= 1 and all(line.startswith("  try: ") for line in rest), said.err
        return "\n".join(lines[start:])

    return call


def _board(tmp_path: Path, old: str, new: str) -> str:
    """The nucleo-h743 board file with one change."""
    text = (resources.root() / "boards" / f"{BOARD}.yaml").read_text()
    changed, count = re.subn(old, new, text, count=1)
    assert count == 1
    (tmp_path / "board.yaml").write_text(changed)
    return "board.yaml"


def test_an_unknown_board_suggests_the_nearest(says: Says) -> None:
    assert "did you mean 'nucleo-h743'?" in says("build", "--board", "nucleo-h7443")


def test_an_unknown_model_suggests_the_nearest(says: Says) -> None:
    line = says("build", "--board", BOARD, "--model", "shapes-smal")
    assert "no model 'shapes-smal'" in line and "did you mean 'shapes-small'?" in line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("flash_word_bytes", "flash_wrod_bytes", r"board.yaml:\d+: unknown key 'flash_wrod_bytes'"),
        ("clock_hz: 480000000", "clock_hz: fast", r"board.yaml:\d+: clock_hz: .*got 'fast'"),
        ("core: cortex-m7", "core: cortex-m77", r"board.yaml:\d+: core: .*'cortex-m4'"),
        (r"(?s)memories:.*", "", r"board.yaml:1: 'memories' is missing"),
        (r"(?s)memories:.*", "memories: [", r"board.yaml:\d+: not valid YAML"),
        (r"(?s).*", "- a list", "expected a mapping"),
        (r"(?s).*", "\x00", "board.yaml: not valid YAML"),
    ],
)
def test_a_board_file_at_fault_names_the_line(
    says: Says, tmp_path: Path, old: str, new: str, message: str
) -> None:
    line = says("build", "--board", _board(tmp_path, old, new), "--model", "tiny.graph.npz")
    assert re.search(message, line)
    assert not (tmp_path / "build").exists()


def test_a_board_file_that_is_not_there(says: Says) -> None:
    assert "no such file: none.yaml" in says("build", "--board", "none.yaml")


@pytest.mark.parametrize("keep", [0, 10, 900])
def test_a_truncated_graph_file(says: Says, tmp_path: Path, keep: int) -> None:
    data = (tmp_path / "tiny.graph.npz").read_bytes()
    (tmp_path / "cut.graph.npz").write_bytes(data[:keep])
    line = says("build", "--board", BOARD, "--model", "cut.graph.npz")
    assert "cut.graph.npz is damaged or truncated" in line
    assert not (tmp_path / "build").exists()


def test_a_model_too_large_for_the_board(says: Says, tmp_path: Path) -> None:
    board = _board(tmp_path, "flash_bytes: 0x200000", "flash_bytes: 0x2000")
    line = says("build", "--board", board, "--model", "tiny.graph.npz")
    assert re.search(r"needs at least [\d,]+ B of flash .* has 8,192 B; largest: ", line)
    assert not list(tmp_path.glob("build/**/firmware.*"))


def test_a_missing_compiler(says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    line = says("build", "--board", BOARD, "--model", "tiny.graph.npz", code=2)
    assert "arm-none-eabi-g++ is not installed" in line and "apt-get install" in line
    assert not (tmp_path / "build").exists()


def test_an_output_folder_that_cannot_be(says: Says, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    says("build", "--board", BOARD, "--model", "tiny.graph.npz", "--out", "taken")
    assert (tmp_path / "taken").read_text() == "mine"
    line = says("build", "--board", BOARD, "--model", "tiny.graph.npz", "--out", "/proc/none/x")
    assert "cannot write" in line


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("nowhere=conv2d_t2_u8", "no layer 'nowhere'"),
        ("conv1=conv9d", "no kernel 'conv9d' for layer 'conv1'"),
    ],
)
def test_a_kernel_that_cannot_be_forced(says: Says, kernel: str, message: str) -> None:
    assert message in says("build", "--board", BOARD, "--model", "tiny.graph.npz",
                           "--kernel", kernel)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: 1\nname: x\nepochs: 5\n", r"r.yaml:3: unknown key 'epochs'"),
        ("schema: 1\nname: x\ntask: shapes\n", r"'network' is missing"),
        ("schema: nine\n", r"r.yaml:"),
        ("name: [\n", "not valid YAML"),
    ],
)
def test_a_recipe_at_fault_names_the_line(
    says: Says, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "r.yaml").write_text(text)
    assert re.search(message, says("train", "r.yaml"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.yaml", "tiny.graph.npz"]


def test_an_unknown_recipe_suggests_the_nearest(says: Says) -> None:
    assert "did you mean 'shapes-small'?" in says("train", "shapes-smal")


EVALUATE = ("evaluate", "--board", BOARD, "--samples", "4")


def test_a_port_that_does_not_exist(says: Says) -> None:
    line = says(*EVALUATE, "--port", "/dev/ttyNONE", code=2)
    assert "/dev/ttyNONE does not exist" in line and "doctor" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--attacks", "pgdd"), "did you mean 'pgd'?"),
        (("--task", "shaps"), "did you mean 'shapes'?"),
        (("--adversarial", "none.npz"), "cannot read none.npz"),
        (("--adversarial", "noise.npz"), "noise.npz is damaged"),
        (("--samples", "1000000"), "4,000 test images, not 1,000,000"),
    ],
)
def test_an_evaluation_that_cannot_start(
    says: Says, tmp_path: Path, arguments: tuple[str, str], message: str
) -> None:
    (tmp_path / "noise.npz").write_bytes(b"PK\x03\x04 noise")
    assert message in says(*EVALUATE, "--virtual", *arguments)
    assert not (tmp_path / "evaluation").exists()


def test_neither_or_both_of_port_and_virtual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for ports in ((), ("--virtual", "--port", "x")):
        assert run([*EVALUATE, *ports]) == 1
        assert "give either --virtual or --port PORT" in capsys.readouterr().err


def test_a_data_folder_with_a_truncated_batch(
    says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyrobust import tasks
    from tinyrobust.errors import TaskError

    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "test_batch.bin").write_bytes(bytes(3073 * 100))
    monkeypatch.setenv("TINYROBUST_DATA", str(tmp_path / "data"))
    with pytest.raises(TaskError, match=r"has 307,300 bytes, a batch has 30,730,000"):
        tasks.get("cifar10").load("test", 10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "image.json is missing"),
        ("{", "image.json is damaged"),
        ("[]", "image.json is damaged: the document"),
    ],
)
def test_a_build_folder_that_is_none(
    says: Says, tmp_path: Path, content: str | None, message: str
) -> None:
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "memory.json").write_text("{}")
    if content is not None:
        (tmp_path / "built" / "image.json").write_text(content)
    assert message in says("budget", "built", code=2)


def test_an_image_of_another_board_is_not_simulated(says: Says) -> None:
    assert run(["build", "--board", BOARD, "--model", "tiny.graph.npz", "--out", "built"]) == 0
    line = says("simulate", "--board", "mps2-an386", "--image", "built")
    assert "built is for nucleo-h743, not for mps2-an386" in line


def test_what_to_flash_next_is_what_was_built(
    says: Says, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["build", "--board", BOARD, "--model", "tiny.graph.npz"]
    assert run(arguments) == 0
    assert f"flash --board {BOARD} --model tiny.graph.npz\n" in capsys.readouterr().out
    assert run([*arguments, "--out", "built"]) == 0
    assert f"flash --board {BOARD} --image built\n" in capsys.readouterr().out


def test_a_board_with_an_unknown_port(says: Says, tmp_path: Path) -> None:
    line = says("build", "--board", _board(tmp_path, "port: stm32h7", "port: stm32h8"))
    assert "no port 'stm32h8'" in line and "did you mean 'stm32h7'?" in line


def test_records_that_are_none(says: Says, tmp_path: Path) -> None:
    assert "cannot read none" in says("report", "none")
    (tmp_path / "records.jsonl").write_text("{}\nnoise\n")
    says("report", "records.jsonl")


def test_a_trained_folder_that_is_none(
    says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("rich.console.Console.print", lambda _, text, **__: shown.append(text))
    assert "no trained model at none" in says("convert", "none", "--out", "made")
    assert shown and not any("[" in text for text in shown)  # style, no markup: it would be shown
    assert not (tmp_path / "made").exists()
