"""What every test run shares: ``--port``, real data, and the list of allowed skips.

A test that cannot run everywhere carries a marker of ``NEEDS``; nothing else may skip. A skip
with any other reason (``pytest.skip``, ``importorskip``, ``skipif``) fails the run, so that a
missing tool never looks like a green test.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REAL_DATA = "TINYROBUST_DATA"
PUBLIC_CASES = "TINYROBUST_CASES_DIR"  # models of others, which are not kept here

# Debian's packages of them are gdb-multiarch, openocd, dfu-util, stlink-tools and bossa-cli.
FLASHERS = ("gdb-multiarch", "openocd", "dfu-util", "st-flash", "bossac")
# Marker -> (is what it needs there?, the reason of the skip when it is not): the skip list.
NEEDS: dict[str, tuple[Callable[[pytest.Config], bool], str]] = {
    "train": (
        lambda config: _installed("tensorflow", "qkeras", "hls4ml"),
        "needs the training extra: pip install 'tinyrobust[train]' (Python 3.10 to 3.13)",
    ),
    "attacks": (
        lambda config: _installed("art"),
        "needs the attacks extra: pip install 'tinyrobust[attacks]'",
    ),
    "audio": (
        lambda config: _installed("librosa"),
        "needs the audio extra: pip install 'tinyrobust[audio]'",
    ),
    "search": (
        lambda config: _installed("optuna"),
        "needs the search extra: pip install 'tinyrobust[search]'",
    ),
    "qonnx": (
        lambda config: _installed("onnx", "qonnx", "hls4ml"),
        "needs the qonnx extra: pip install 'tinyrobust[qonnx]'",
    ),
    "data": (
        lambda config: Path(os.environ.get(REAL_DATA) or os.devnull).is_dir(),
        f"needs real data: set {REAL_DATA} to its folder",
    ),
    "cases": (
        lambda config: Path(os.environ.get(PUBLIC_CASES) or os.devnull).is_dir(),
        f"needs models of others: set {PUBLIC_CASES} to their folder",
    ),
    "atheris": (
        lambda config: _installed("atheris"),
        "needs Atheris, which has wheels for Python 3.11 and later on Linux",
    ),
    "flashers": (
        lambda config: all(map(shutil.which, FLASHERS)),
        f"needs {', '.join(FLASHERS)}: tools/system-packages tests",
    ),
    "hardware": (
        lambda config: config.getoption("--port") is not None,
        "needs a board: pytest --port /dev/ttyACM0",
    ),
}
# A busy machine is slow, which says nothing of the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_ALLOWED = {reason for _, reason in NEEDS.values()}
_stray_skips: list[str] = []


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def pytest_configure(config: pytest.Config) -> None:
    """Let children hear signals, and keep pytest's capture file open.

    A background job, and some CI runners, start us with SIGINT ignored or blocked; children inherit
    that, and tests that press Ctrl-C would wait for ever. A handler of ours becomes the default in
    a child.

    absl, which TensorFlow logs through, keeps the standard error of the moment it is imported in;
    ART configures logging when it is imported, which closes all handlers, and absl's then closes
    that stream when it is no longer the current one, as inside capsys.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    if _installed("absl"):
        from absl import logging

        logging.get_absl_handler().python_handler.stream = sys.__stderr__


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--port", default=None, help="serial port of a flashed board (hardware tests)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = {m: reason for m, (there, reason) in NEEDS.items() if not there(config)}
    for item in items:
        if item.path.is_relative_to(config.rootpath / "tests" / "hardware"):
            item.add_marker("hardware")
        for marker, reason in missing.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note_skip(report)


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = text.removeprefix("Skipped: ")
    if reason not in _ALLOWED:
        _stray_skips.append(f"{report.nodeid}: {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _stray_skips and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _stray_skips:
        terminalreporter.section("skips that are not on the list (tests/conftest.py)", red=True)
        for line in _stray_skips:
            terminalreporter.line(line)


@pytest.fixture
def port(request: pytest.FixtureRequest) -> str:
    """The serial port given with --port."""
    return str(request.config.getoption("--port"))


@pytest.fixture
def real_data() -> Path:
    """The folder with the real data sets, for tests marked ``data``."""
    return Path(os.environ[REAL_DATA])


@pytest.fixture
def public_cases() -> Path:
    """The folder with models of others (``tflite/*.tflite``), for tests marked ``cases``."""
    return Path(os.environ[PUBLIC_CASES])
