"""The GitHub action and the pre-commit hook, run as GitHub and pre-commit run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.graphs import tiny_graph
from tinyrobust.graph import file

ROOT = Path(__file__).resolve().parents[2]
ACTION = YAML(typ="safe").load((ROOT / "action.yml").read_text())
HOOKS = YAML(typ="safe").load((ROOT / ".pre-commit-hooks.yaml").read_text())
BIN = str(Path(sys.executable).parent)


Done = subprocess.CompletedProcess[str]


class Runner:
    """GitHub's runner: a workspace, the files that it names, and the action's steps."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        self.files = {name: folder / name for name in (
            "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH", "GITHUB_ENV")}  # fmt: skip
        for path in self.files.values():
            path.touch()
        self.temp = folder / "temp"
        self.temp.mkdir()
        self.path = f"{BIN}{os.pathsep}{os.environ['PATH']}"

    def step(self, step: dict[str, Any], inputs: dict[str, str]) -> Done:
        """One ``run`` step, with its expressions filled in, in the shell that GitHub takes."""
        assert step["shell"] == "bash" and set(inputs) <= set(ACTION["inputs"])
        given = {name: one["default"] for name, one in ACTION["inputs"].items()} | inputs

        def fill(text: str) -> str:
            return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: given[m[1]], text)

        assert "${{" not in step["run"]  # an input in the text of a command could be a command
        script = self.temp / "step.sh"
        script.write_text(step["run"])
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "INPUT_"))},
            **{k: str(v) for k, v in self.files.items()},
            "GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_WORKSPACE": str(self.workspace), "RUNNER_TEMP": str(self.temp),
            "PATH": self.path, **{k: fill(v) for k, v in step["env"].items()},
        }  # fmt: skip
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            cwd=self.workspace, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def outputs(self) -> dict[str, str]:
        """The check step's, as the action's own outputs name them."""
        text = self.files["GITHUB_OUTPUT"].read_text()
        values = dict(line.split("=", 1) for line in text.splitlines())
        expressions = {n: one["value"] for n, one in ACTION["outputs"].items()}
        assert all(e == f"${{{{ steps.check.outputs.{n} }}}}" for n, e in expressions.items())
        return {name: values.get(name, "") for name in expressions}


INSTALL, CHECK = ACTION["runs"]["steps"]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    found = Runner(tmp_path)
    file.save(tiny_graph(), found.workspace / "tiny.graph.npz")
    return found


def test_its_inputs_are_documented_and_all_used() -> None:
    assert ACTION["runs"]["using"] == "composite" and CHECK["id"] == "check"
    used = set(re.findall(r"inputs\.([\w-]+)", str(ACTION["runs"])))
    assert used == set(ACTION["inputs"])
    for name, one in ACTION["inputs"].items():
        assert one["description"].endswith(".") and isinstance(one["default"], str), name
    script = (ROOT / "tools" / "budget-action").read_text()
    for name in ("max-growth-flash", "warn-at", "junit"):
        assert f"INPUT_{name.upper().replace('-', '_')}" in script


def test_its_shell_is_clean() -> None:
    run = [step["run"] for step in ACTION["runs"]["steps"]]
    scripts = ["#!/usr/bin/env bash\n" + text for text in run]
    scripts.append((ROOT / "tools" / "budget-action").read_text())
    for text in scripts:
        done = subprocess.run(
            ["shellcheck", "--shell=bash", "-"], input=text, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    assert os.access(ROOT / "tools" / "budget-action", os.X_OK)


def test_it_builds_and_checks(runner: Runner) -> None:
    inputs = {"board": "nucleo-h743", "model": "tiny.graph.npz", "save": "base.json",
              "junit": "out/junit.xml", "max-region": "DTCM=100K ITCM=64K"}  # fmt: skip
    done = runner.step(CHECK, inputs)
    assert done.returncode == 0, done.stderr
    outputs = runner.outputs()
    assert outputs["fits"] == "true" and int(outputs["flash-bytes"]) > 5000
    assert outputs["flash-change"] == "" and int(outputs["ram-bytes"]) > 8000
    summary = runner.files["GITHUB_STEP_SUMMARY"].read_text()
    assert "## Memory of tiny on nucleo-h743: fits" in summary
    assert (runner.workspace / "out" / "junit.xml").is_file()

    flash = int(outputs["flash-bytes"])
    limits = {"baseline": "base.json", "max-flash": str(flash - 1), "max-growth-flash": "0",
              "target": "build/nucleo-h743/tiny"}  # fmt: skip
    done = runner.step(CHECK, {**inputs, **limits, "board": "", "model": ""})
    assert done.returncode == 1
    (error,) = [line for line in done.stdout.splitlines() if line.startswith("::error ")]
    assert "1 B more than --max-flash" in error
    assert runner.outputs()["fits"] == "false" and runner.outputs()["flash-change"] == "0"


def test_an_input_is_never_a_command(runner: Runner) -> None:
    evil = "x$(touch gotcha)`touch gotcha`; touch gotcha"
    for name in ("board", "model", "target", "max-flash", "junit"):
        done = runner.step(CHECK, {"board": "nucleo-h743", "model": "tiny.graph.npz", name: evil})
        if name == "junit":  # a strange name of a file, but one
            assert done.returncode == 0 and (runner.workspace / evil).is_file()
        else:
            assert done.returncode in (1, 2) and "gotcha" in done.stderr
    done = runner.step(CHECK, {"board": "nucleo-h743", "max-region": "DTCM=1M *"})
    assert "'*' is not NAME=BYTES" in done.stderr  # and no file's name
    done = runner.step(CHECK, {"board": "nucleo-h743", "max-region": "DTCM=1M\n  ITCM=64K\n\n*"})
    assert "'*' is not NAME=BYTES" in done.stderr  # every line is read
    assert not (runner.workspace / "gotcha").exists()


def test_the_install_step(runner: Runner, tmp_path: Path) -> None:
    """With stand-ins for Python, apt-get and sudo, which say how they were called."""
    stubs, log = tmp_path / "stubs", tmp_path / "log"
    stubs.mkdir()
    for name in ("sudo", "apt-get", "python3"):
        text = f'#!/bin/sh\necho "{name} $*" >>{log}\n'
        if name == "python3":  # makes an environment whose python is a stand-in too
            text += f'mkdir -p "$3/bin" && cp {stubs}/pip "$3/bin/python"\n'
        if name == "sudo":
            text += '"$@"\n'
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    (stubs / "pip").write_text(f'#!/bin/sh\necho "python $*" >>{log}\n')
    (stubs / "pip").chmod(0o755)
    for name in ("bash", "id", "mkdir", "cp", "env", "sh"):
        (stubs / name).symlink_to(shutil.which(name) or "")
    runner.path = str(stubs)
    assert INSTALL["if"] == "${{ inputs.install == 'true' }}"
    done = runner.step(INSTALL, {})
    assert done.returncode == 0, done.stderr
    called = log.read_text()
    assert f"python3 -m venv {runner.temp}/tinyrobust\n" in called
    assert re.search(rf"python -m pip install .* {re.escape(str(ROOT))}\n", called)
    assert "apt-get install -y -q --no-install-recommends gcc-arm-none-eabi" in called
    assert runner.files["GITHUB_PATH"].read_text() == f"{runner.temp}/tinyrobust/bin\n"
    log.unlink()
    assert runner.step(INSTALL, {"target": "program.elf"}).returncode == 0
    assert "apt-get" not in log.read_text()  # nothing is built


def test_the_hook_names_a_command_that_there_is() -> None:
    (hook,) = HOOKS
    assert {"id", "name", "description", "entry", "language"} <= hook.keys()
    assert hook["entry"] == "tinyrobust budget --build" and hook["pass_filenames"] is False
    pattern = re.compile(hook["files"])
    assert all(pattern.search(p) for p in ("m/model.graph.npz", "a.tflite", "boards/mine.yaml"))
    assert not pattern.search("main.c")


@pytest.mark.slow
def test_pre_commit_runs_the_hook(tmp_path: Path) -> None:
    """The real pre-commit on a real repository; only the environment is the one we are in."""
    project = tmp_path / "project"
    project.mkdir()
    file.save(tiny_graph(), project / "tiny.graph.npz")
    source = tmp_path / "tinyrobust"  # what of this repository pre-commit reads
    source.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", source)
    environment = {
        **os.environ, "PRE_COMMIT_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "x@example.com"
           for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }  # fmt: skip

    def call(*words: str, cwd: Path = project) -> Done:
        return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True,
                              check=False)  # fmt: skip

    for folder in (source, project):
        for words in (("git", "init", "-q"), ("git", "add", "-A"), ("git", "commit", "-qm", "x")):
            assert call(*words, cwd=folder).returncode == 0
    revision = call("git", "rev-parse", "HEAD", cwd=source).stdout.strip()

    def run_hook(*args: str) -> Done:
        config = (
            f"repos:\n  - repo: {source}\n    rev: {revision}\n    hooks:\n"
            f"      - id: tinyrobust-budget\n        language: system\n"
            f"        args: [--board, nucleo-h743, --model, tiny.graph.npz, {', '.join(args)}]\n"
        )
        (project / ".pre-commit-config.yaml").write_text(config)
        call("git", "add", "-A")
        return call(sys.executable, "-m", "pre_commit", "run", "--all-files", "--verbose")

    done = run_hook("--max-flash", "100K")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout and "fits nucleo-h743" in done.stdout
    done = run_hook("--max-flash", "6K")
    assert done.returncode == 1 and "Failed" in done.stdout
    assert "more than --max-flash, 6,144 B" in re.sub(r"\s+", " ", done.stdout)
