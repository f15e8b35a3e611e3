"""What is installed, what is missing, and what is attached; the facts behind ``doctor``.

In: this machine. Out: lists of ``Item``, ``Port`` and ``Probe``. Nothing heavy is imported and
nothing is changed; every program that is asked has a few seconds to answer.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 8.0
NEWEST_FOR_TRAINING = (3, 13)


@dataclass(frozen=True)
class Item:
    """Something that may be installed: ``detail`` says which, ``how`` how to get it."""

    name: str
    found: bool
    detail: str
    needed_for: str
    how: str
    required: bool = False


@dataclass(frozen=True)
class Port:
    """A serial port; ``boards`` are those whose USB ids it has."""

    device: str
    description: str
    usb_id: str
    boards: tuple[str, ...]


@dataclass(frozen=True)
class Probe:
    """A debug probe that pyOCD sees."""

    unique_id: str
    description: str


def tools() -> list[Item]:
    """Python, compilers, emulator, flashers."""
    version = ".".join(map(str, sys.version_info[:3]))
    return [
        Item("Python", True, version, "everything", "", required=True),
        _program("arm-none-eabi-g++", "building firmware", "gcc-arm-none-eabi", required=True),
        _newlib(),
        _c_compiler(),
        _host_compiler(),
        _program("qemu-system-arm", "virtual mps2-an386 and mps2-an500", "qemu-system-arm"),
        _program("openocd", "flashing a real board (the second choice)", "openocd"),
    ]


def extras() -> list[Item]:
    """The optional parts of the package."""
    training = _extra("train", ("tensorflow-cpu", "qkeras", "hls4ml"), "train, convert, verify")
    if not training.found and sys.version_info[:2] > NEWEST_FOR_TRAINING:
        how = "training needs Python 3.10 to 3.13: make an environment with one of them"
        training = Item(training.name, False, training.detail, training.needed_for, how)
    return [
        training,
        _extra("attacks", ("adversarial-robustness-toolbox",), "crafting attacks in evaluate"),
        _extra("flash", ("pyocd",), "flashing a real board"),
        _extra("audio", ("librosa",), "audio tasks"),
        _extra("search", ("optuna",), "searching for designs"),
    ]


def data_sets() -> list[Item]:
    """Every task, and where its data is."""
    from tinyrobust import tasks
    from tinyrobust.tasks._data import ENVIRONMENT, folders

    found = []
    for name in tasks.names():
        where = tasks.get(name).where()
        how = f"files under {folders()[0]} or ${ENVIRONMENT}, else it is downloaded on first use"
        found.append(
            Item(name, where is not None, where or "", f"task {name}", "" if where else how)
        )
    return found


def ports() -> list[Port]:
    """Serial ports, each with the boards that have its USB ids."""
    from serial.tools import list_ports

    from tinyrobust import boards

    known: dict[tuple[int, int], list[str]] = {}
    for name in boards.names():
        for usb in boards.load(name).serial.usb_ids:
            known.setdefault((usb.vid, usb.pid), []).append(name)
    return [
        Port(
            port.device,
            port.description or "",
            "" if port.vid is None else f"{port.vid:04x}:{port.pid:04x}",
            tuple(known.get((port.vid, port.pid), [])) if port.vid is not None else (),
        )
        for port in sorted(list_ports.comports())
    ]


def probes() -> list[Probe]:
    """Debug probes, as pyOCD lists them; none when pyOCD is missing."""
    if not _version("pyocd"):
        return []
    answer = _run([sys.executable, "-m", "pyocd", "json", "--probes"], only_stdout=True)
    try:
        listed = json.loads(answer)["boards"]
        return [
            Probe(str(p["unique_id"]), f"{p.get('vendor_name', '')} {p.get('product_name', '')}")
            for p in listed
        ]
    except (ValueError, KeyError, TypeError):
        return []


def _program(name: str, needed_for: str, package: str, *, required: bool = False) -> Item:
    path = shutil.which(name)
    detail = _first_line(_run([path, "--version"])) if path else ""
    return Item(name, bool(path), detail, needed_for, _apt(package, bool(path)), required)


def _newlib() -> Item:
    compiler = shutil.which("arm-none-eabi-gcc")
    library = _run([compiler, "-print-file-name=libc.a"]).strip() if compiler else ""
    found = Path(library).is_absolute()  # gcc gives the bare name back when there is none
    return Item(
        "newlib", found, str(Path(library).resolve().parent) if found else "", "building firmware",
        _apt("libnewlib-arm-none-eabi", found), required=True,
    )  # fmt: skip


def _c_compiler() -> Item:
    from tinyrobust.virtual import native

    path = native.compiler()
    detail = _first_line(_run([path, "--version"])) if path else ""
    return Item("C compiler", bool(path), detail, "virtual boards", _apt("gcc", bool(path)))


def _host_compiler() -> Item:
    name = next((n for n in ("c++", "g++", "clang++") if shutil.which(n)), None)
    if name is None:
        return Item(
            "host C++ compiler", False, "", "--board host, verify",
            _apt("g++", False),
        )  # fmt: skip
    item = _program(name, "--board host, verify", "g++")
    return Item("host C++ compiler", True, item.detail, item.needed_for, "")


def _extra(name: str, packages: tuple[str, ...], needed_for: str) -> Item:
    versions = {p: _version(p) for p in packages}
    if "tensorflow-cpu" in versions and not versions["tensorflow-cpu"]:
        versions["tensorflow-cpu"] = _version("tensorflow")
    found = all(versions.values())
    detail = ", ".join(f"{p} {v}" for p, v in versions.items() if v)
    how = "" if found else f"pip install 'tinyrobust[{name}]'"
    return Item(f"[{name}]", found, detail, needed_for, how)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _apt(package: str, found: bool) -> str:
    if found:
        return ""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install {package}"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _run(command: list[str], *, only_stdout: bool = False) -> str:
    """What ``command`` prints; nothing when it cannot run or takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if only_stdout else done.stdout + done.stderr
