"""The command line's frame: discovery, speed, exit codes, JSON, completion."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from tinyrobust import errors
from tinyrobust.cli import main as frame
from tinyrobust.errors import TinyRobustError

CONTEXT = click.Context(frame.cli)
COMMANDS = frame.cli.list_commands(CONTEXT)
REPORTS_NOTHING = {"completion", "simulate"}
# Quick commands that need no argument; the slow ones are tried in test_cli_commands.py.
LISTS = ["attacks", "boards", "doctor", "models", "tasks"]


def tinyrobust(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "tinyrobust", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_every_design_command_is_there() -> None:
    wanted = {"attacks", "bench", "boards", "budget", "build", "convert", "doctor", "evaluate",
              "flash", "models", "report", "simulate", "tasks", "train", "verify"}  # fmt: skip
    assert wanted <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.run([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: tinyrobust {name}")
    command = frame.cli.get_command(CONTEXT, name)
    assert command is not None and command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts} has no help"


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - REPORTS_NOTHING))
def test_every_command_that_reports_takes_json(name: str) -> None:
    command = frame.cli.get_command(CONTEXT, name)
    assert command is not None
    assert "--json" in {opt for p in command.params for opt in p.opts}


def test_help_is_quick_and_names_every_command() -> None:
    script = str(Path(sys.executable).with_name("tinyrobust"))
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(4):
        for whose, command in (
            ("ours", [script, "--help"]),
            ("theirs", [sys.executable, "-c", "import click, rich.console"]),
        ):
            before = os.times()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            after = os.times()  # time on the processor, whatever else the machine is doing
            seconds[whose].append(sum(after[2:4]) - sum(before[2:4]))
            if whose == "ours":
                printed = done.stdout
    assert min(seconds["ours"]) < 3 * min(seconds["theirs"])  # 0.12 s beside 0.09 s
    for name in COMMANDS:
        assert f"\n  {name} " in printed


def test_commands_import_nothing_heavy_until_they_run() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {[c.replace('-', '_') for c in COMMANDS]!r}:\n"
        "    importlib.import_module('tinyrobust.cli.' + name)\n"
        "heavy = ['numpy', 'rich', 'pydantic', 'ruamel', 'tensorflow', 'matplotlib', 'art',\n"
        "         'unicorn', 'serial', 'jinja2']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", LISTS)
def test_lists_print_a_table_and_json(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert frame.run([name]) == 0
    assert capsys.readouterr().out.strip()
    assert frame.run([name, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)  # and nothing else on standard output
    assert document["schema"] == f"tinyrobust.{name}/1"
    if name != "doctor":  # ports come and go
        assert frame.run([name, "--json", str(tmp_path / "r" / "out.json")]) == 0
        assert json.loads((tmp_path / "r" / "out.json").read_text()) == document


def test_models_json_has_name_and_task() -> None:
    models = json.loads(tinyrobust("models", "--json", "-").stdout)["models"]
    assert {"shapes-small"} <= {model["name"] for model in models}
    assert {"cifar10-resnet8-robust-int8", "digits-dscnn-float"} <= {m["name"] for m in models}
    assert {m["task"] for m in models} == {"shapes", "cifar10", "speech_commands:digits"}


def test_an_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.run(["evalute"]) == errors.EXIT_USER
    said = capsys.readouterr()
    assert "no command 'evalute'; did you mean 'evaluate'?" in said.err and not said.out


def test_an_unknown_option_is_the_users_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.run(["models", "--jsn", "-"]) == errors.EXIT_USER
    assert "--json" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tinyrobust, version ")


def _fails_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setattr(frame.cli, "get_command", lambda ctx, name: broken)
    return frame.run(["models"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RecipeError, 1), (errors.BoardError, 1), (errors.TaskError, 1),
        (errors.ConvertError, 1), (errors.GraphError, 1), (errors.BudgetError, 1),
        (errors.CheckFailed, 1), (errors.BuildError, 2), (errors.FlashError, 2),
        (errors.LinkError, 2), (errors.ProtocolError, 2), (errors.DeviceFault, 2),
    ],
)  # fmt: skip
def test_an_error_is_one_line_a_hint_and_its_code(
    error: type[TinyRobustError],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _fails_with(error("what, where", "what next"), monkeypatch) == code
    said = capsys.readouterr()
    assert said.err == "error: what, where\n  try: what next\n" and said.out == ""


def test_every_error_type_is_in_that_list() -> None:
    kinds = {k for k in vars(errors).values() if isinstance(k, type)} - {TinyRobustError}
    assert len(kinds) == 12 and all(issubclass(kind, TinyRobustError) for kind in kinds)


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _fails_with(KeyboardInterrupt(), monkeypatch) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_bug_is_70_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fails_with(ZeroDivisionError("x"), monkeypatch) == 70
    said = capsys.readouterr().err
    assert "Traceback" in said and "this is a bug in tinyrobust" in said


def test_a_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/there/image.elf")
    assert _fails_with(full, monkeypatch) == 1
    assert capsys.readouterr().err == (
        "error: No space left on device: /there/image.elf\n"
        "  try: free some disk space, or write to a folder where you may write\n"
    )
    assert _fails_with(OSError(errno.EBADF, "odd"), monkeypatch) == 70


def test_json_to_a_full_disk_is_one_line() -> None:
    done = tinyrobust("tasks", "--json", "/proc/none/out.json")
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write /proc/none/out.json:")
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_bug() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "tinyrobust", "tasks", "--json", "-"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.returncode == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.run(["completion", shell]) == 0
    assert "_TINYROBUST_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tinyrobust eva", "evaluate"),
        ("tinyrobust build --bo", "--board"),
        ("tinyrobust build --board nucleo", "nucleo-h743"),
        ("tinyrobust build --model sha", "shapes-small"),
    ],
)
def test_completion_knows_commands_options_boards_and_models(words: str, expected: str) -> None:
    asked = {"_TINYROBUST_COMPLETE": "bash_complete", "COMP_WORDS": words,
             "COMP_CWORD": str(len(words.split()) - 1)}  # fmt: skip
    script = str(Path(sys.executable).with_name("tinyrobust"))
    done = subprocess.run(
        [script], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert f"plain,{expected}" in done.stdout.split()
