"""tools/system-packages and tools/find-python, on machines made of stub programs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
FLASHERS = ["gdb-multiarch", "openocd", "dfu-util", "st-flash", "bossac"]
BUILDERS = ["cmake", "ninja", "shellcheck"]
ALL = ["arm-none-eabi-g++", "qemu-system-arm", "c++", "clang++", *BUILDERS, *FLASHERS]


class Machine:
    """A checkout with the scripts, and a PATH with nothing on it but stubs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.log = folder / "checkout", folder / "bin", folder / "log"
        (self.folder / "tools").mkdir(parents=True)
        for script in TOOLS.iterdir():
            shutil.copy(script, self.folder / "tools" / script.name)
        self.bin.mkdir()
        for name in ("dirname", "env", "sh", "true"):
            (self.bin / name).symlink_to(f"/usr/bin/{name}")
        self.stub("python3.11", "exit 0")

    def stub(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{body}\n')
        path.chmod(0o755)

    def has(self, *programs: str) -> None:
        for program in programs:
            self.stub(program, "exit 0")
        if "arm-none-eabi-g++" in programs:
            self.stub("arm-none-eabi-gcc", "echo /usr/lib/arm-none-eabi/lib/libc.a")
        if "clang++" in programs:
            library = self.folder / "clang" / "lib" / "linux" / "libclang_rt.fuzzer-x86_64.a"
            library.parent.mkdir(parents=True)
            library.touch()
            self.stub("clang++", f"echo {self.folder / 'clang'}")

    def run(self, script: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / "tools" / script), *args], env={"PATH": str(self.bin), **env},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def called(self, program: str) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.startswith(f"{program} ")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_is_done_when_all_is_there(machine: Machine) -> None:
    machine.has(*ALL, "apt-get")
    done = machine.run("system-packages", "tests")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not machine.called("apt-get")


def test_root_gets_exactly_what_is_missing(machine: Machine) -> None:
    machine.has("qemu-system-arm", "apt-get")
    machine.stub("id", "echo 0")
    done = machine.run("system-packages", "demo")
    assert done.returncode == 0, done.stderr
    update, install = machine.called("apt-get")
    assert update == "apt-get update -q"
    assert install.startswith("apt-get install -y gcc-arm-none-eabi libnewlib-arm-none-eabi g++ -q")


@pytest.mark.parametrize("known", [True, False])
def test_clang_without_the_fuzzers_library(known: bool, machine: Machine) -> None:
    machine.has(*ALL, "apt-get")
    machine.stub("clang++", "echo /nowhere")
    machine.stub("id", "echo 0")
    machine.stub("apt-cache", f"exit {0 if known else 1}")
    done = machine.run("system-packages", "tests")
    assert done.returncode == 0, done.stderr
    package = " libclang-rt-dev" if known else ""
    assert machine.called("apt-get")[1].startswith(f"apt-get install -y{package} -q")


def test_a_compiler_without_newlib(machine: Machine) -> None:
    machine.has(*ALL, "apt-get")
    machine.stub("arm-none-eabi-gcc", "echo libc.a")
    machine.stub("id", "echo 0")
    assert machine.run("system-packages").returncode == 0
    assert "install -y libnewlib-arm-none-eabi -q" in machine.called("apt-get")[1]


def test_sudo_is_used_where_it_asks_nothing(machine: Machine) -> None:
    machine.has("apt-get")
    machine.stub("id", "echo 1000")
    machine.stub("sudo", 'shift; exec "$@"')
    assert machine.run("system-packages", "tests").returncode == 0
    update, flashers, rest = machine.called("apt-get")
    assert update == "apt-get update -q" and flashers.endswith(
        "gdb-multiarch openocd dfu-util stlink-tools bossa-cli"
    )
    assert "clang" in rest


@pytest.mark.parametrize("rights", [True, False])
def test_flashers_that_cannot_be_installed_are_no_error(rights: bool, machine: Machine) -> None:
    machine.has(*[name for name in ALL if name != "bossac"], "apt-get")
    machine.stub("id", "echo 0" if rights else "echo 1000")
    machine.stub("apt-get", "exit 1")
    machine.stub("sudo", "exit 1")
    done = machine.run("system-packages", "tests")
    assert done.returncode == 0 and "skipped without" in done.stderr
    assert "bossa-cli" in done.stderr
    assert machine.run("system-packages", "demo").stderr == ""


def test_a_user_without_rights_is_told_what_to_type(machine: Machine) -> None:
    machine.has("apt-get", "qemu-system-arm", "c++")
    machine.stub("id", "echo 1000")
    machine.stub("sudo", "exit 1")
    done = machine.run("system-packages")
    assert done.returncode == 1 and not machine.called("apt-get")
    assert (
        "  sudo apt-get update && sudo apt-get install -y gcc-arm-none-eabi "
        "libnewlib-arm-none-eabi\n"
    ) in done.stderr


def test_another_system_is_told_what_is_missing(machine: Machine) -> None:
    done = machine.run("system-packages")
    assert done.returncode == 1 and "gcc-arm-none-eabi" in done.stderr


def test_a_failed_install_is_an_error(machine: Machine) -> None:
    machine.stub("id", "echo 0")
    machine.stub("apt-get", '[ "$1" = update ]')
    done = machine.run("system-packages")
    assert done.returncode == 1 and "could not install" in done.stderr


def test_python_without_venv_needs_its_package(machine: Machine) -> None:
    machine.has(*ALL, "apt-get")
    machine.stub("id", "echo 0")
    machine.stub(
        "python3.11",
        'case "$2" in *ensurepip*) exit 1;; *venv*) echo python3.11-venv;; esac',
    )
    assert machine.run("system-packages").returncode == 0
    assert "install -y python3.11-venv -q" in machine.called("apt-get")[1]


def test_the_python_for_training_comes_first(machine: Machine) -> None:
    machine.stub("python3.12", "exit 0")
    machine.stub("python3.10", "exit 0")
    assert machine.run("find-python").stdout == f"{machine.bin}/python3.11\n"
    machine.stub("python3.11", "exit 127")  # a shim without a Python behind it
    assert machine.run("find-python").stdout == f"{machine.bin}/python3.10\n"
    assert machine.run("find-python", PYTHON="mine").stdout == "mine\n"


def test_no_python_is_said(machine: Machine) -> None:
    machine.stub("python3.11", "exit 1")
    done = machine.run("find-python")
    assert done.returncode == 1 and "no Python 3.10 to 3.13" in done.stderr
