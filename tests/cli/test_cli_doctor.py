"""``tinyrobust doctor``: what is there, what is missing, how to get it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinyrobust.cli import _doctor
from tinyrobust.cli.main import run

Captured = pytest.CaptureFixture[str]


def _program(folder: Path, name: str, says: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what the test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def _json(capsys: Captured) -> dict[str, list[dict[str, object]]]:
    return dict(json.loads(capsys.readouterr().out))


def test_a_bare_machine_is_told_what_to_type(programs: Path, capsys: Captured) -> None:
    assert run(["doctor"]) == 1
    text = capsys.readouterr().out
    for package in (
        "gcc-arm-none-eabi",
        "libnewlib-arm-none-eabi",
        "qemu-system-arm",
        "gcc",
        "g++",
    ):
        assert f"apt-get install {package}\n" in text or f"apt-get install {package} " in text
    assert "not ready" in text


def test_the_json_says_the_same(programs: Path, capsys: Captured) -> None:
    assert run(["doctor", "--json", "-"]) == 1
    document = _json(capsys)
    assert document["schema"] == "tinyrobust.doctor/1" and document["ready"] is False
    tools = {item["name"]: item for item in document["tools"]}
    assert tools["Python"]["found"] is True
    assert tools["newlib"]["found"] is False and tools["newlib"]["required"] is True


def test_a_found_compiler_shows_its_version(programs: Path, capsys: Captured) -> None:
    _program(programs, "arm-none-eabi-g++", "arm-none-eabi-g++ 12.2.1")
    _program(programs, "arm-none-eabi-gcc", f"{programs}/libc.a")
    _program(programs, "g++", "g++ 12.2.0")
    assert run(["doctor", "--json", "-"]) == 0
    tools = {item["name"]: item for item in _json(capsys)["tools"]}
    assert tools["arm-none-eabi-g++"]["detail"] == "arm-none-eabi-g++ 12.2.1"
    assert tools["newlib"]["found"] and tools["host C++ compiler"]["found"]
    assert not tools["qemu-system-arm"]["found"]


def test_a_compiler_without_newlib_is_not_enough(programs: Path, capsys: Captured) -> None:
    _program(programs, "arm-none-eabi-g++", "arm-none-eabi-g++ 12.2.1")
    _program(programs, "arm-none-eabi-gcc", "libc.a")  # what gcc says when it has none
    assert run(["doctor"]) == 1
    assert "libnewlib-arm-none-eabi" in capsys.readouterr().out


def test_a_program_that_hangs_is_given_up(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = programs / "openocd"
    path.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    path.chmod(0o755)
    monkeypatch.setattr(_doctor, "TIMEOUT_S", 0.2)
    item = next(item for item in _doctor.tools() if item.name == "openocd")
    assert item.found and item.detail == ""


def test_missing_extras_name_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor, "_version", lambda name: "")
    extras = {item.name: item for item in _doctor.extras()}
    assert extras["[attacks]"].how == "pip install 'tinyrobust[attacks]'"
    monkeypatch.setattr(_doctor.sys, "version_info", (3, 14, 1))
    training = next(item for item in _doctor.extras() if item.name == "[train]")
    assert "Python 3.10 to 3.13" in training.how and not training.found


def test_data_sets_say_where_to_put_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYROBUST_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    items = {item.name: item for item in _doctor.data_sets()}
    assert items["shapes"].found
    assert not items["cifar10"].found and str(tmp_path) in items["cifar10"].how
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        (folder / name).touch()
    items = {item.name: item for item in _doctor.data_sets()}
    assert items["cifar10"].detail == str(folder)


def test_a_serial_port_is_matched_to_its_boards(monkeypatch: pytest.MonkeyPatch) -> None:
    from serial.tools import list_ports

    attached = [
        SimpleNamespace(device="/dev/ttyACM0", description="STLINK-V3", vid=0x0483, pid=0x374E),
        SimpleNamespace(device="/dev/ttyS0", description="n/a", vid=None, pid=None),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: attached)
    monkeypatch.setattr(_doctor, "sorted", list, raising=False)
    stlink, plain = _doctor.ports()
    assert "nucleo-h743" in stlink.boards and stlink.usb_id == "0483:374e"
    assert "nucleo-f446" not in stlink.boards  # which has an older ST-LINK
    assert plain.boards == () and plain.usb_id == ""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"boards": [{"unique_id": "066F", "vendor_name": "STMicroelectronics",'
         ' "product_name": "STM32 STLink"}]}', ["066F"]),
        ('{"boards": []}', []),
        ("not json", []),
        ("[]", []),
    ],
)  # fmt: skip
def test_probes_are_what_pyocd_lists(
    answer: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_doctor, "_version", lambda name: "0.46.0")
    monkeypatch.setattr(_doctor, "_run", lambda command, only_stdout=False: answer)
    assert [probe.unique_id for probe in _doctor.probes()] == expected
