"""``doctor --board`` and ``--udev``: flashers, what they see, rules, groups."""

from __future__ import annotations

import grp
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests import stand_ins
from tests.flash.test_flashers import ST_LINK, Port, board_with, plug
from tinyrobust import boards, flash
from tinyrobust.cli import _doctor_boards
from tinyrobust.cli.main import run as tinyrobust
from tinyrobust.flash import udev

# udev(7): KEY or KEY{name}, an operator, a value in double quotes; commas between.
_PART = r'[A-Z]+(\{[A-Za-z_]+\})?(==|!=|=|\+=|:=)"[^"]+"'
RULE = re.compile(rf"{_PART}(, {_PART})*")
KEYS = {"SUBSYSTEM", "ATTR", "ATTRS", "MODE", "GROUP", "ENV"}


@pytest.mark.parametrize("name", boards.names())
def test_rules_of_every_board(name: str, capsys: Any) -> None:
    assert tinyrobust(["doctor", "--board", name, "--udev"]) == 0
    text = capsys.readouterr().out
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for line in lines:
        assert RULE.fullmatch(line), line
        assert set(re.findall(r"([A-Z]+)(?:\{\w+\})?[=!+:]", line)) <= KEYS | {"CMSIS"}
        assert 'GROUP="dialout"' in line and 'MODE="0660"' in line
    board = boards.load(name)
    rows = [row.usb for row in board.flashers] + [row.touch for row in board.flashers]
    for usb in [*board.serial.usb_ids, *filter(None, rows)]:
        for subsystem, key in (("usb", "ATTR"), ("tty", "ATTRS")):
            wanted = (f'SUBSYSTEM=="{subsystem}", {key}{{idVendor}}=="{usb.vid:04x}", '
                      f'{key}{{idProduct}}=="{usb.pid:04x}"')  # fmt: skip
            assert sum(line.startswith(wanted) for line in lines) == 1, wanted


def test_rules_of_all_boards_name_each_device_once(capsys: Any) -> None:
    assert tinyrobust(["doctor", "--udev"]) == 0
    lines = [x for x in capsys.readouterr().out.splitlines() if x and not x.startswith("#")]
    assert len(lines) == len(set(lines))
    assert tinyrobust(["doctor", "--udev", "--json", "-"]) == 1


def test_boot_loaders_have_rules_too() -> None:
    board = board_with({"id": "bossac", "usb": {"vid": 0x2341, "pid": 0x5A},
                        "touch": {"vid": 0x2341, "pid": 0x805A}})  # fmt: skip
    assert [n.name for n in udev.needs(board)][-2:] == ["2341:005a", "2341:805a"]
    external = board_with({"id": "st-flash"}, serial={"device": "UART", "usb_ids": []})
    assert "0483:3748" in [n.name for n in udev.needs(external)]


RULES = {
    "exact": 'SUBSYSTEMS=="usb", ATTRS{idVendor}=="0483", ATTRS{idProduct}=="374b", MODE="0666"',
    "continued": 'ATTRS{idVendor}=="0483", \\\n ATTRS{idProduct}=="374b", \\\n MODE:="0666"',
    "uaccess": 'ATTR{idVendor}=="0483", ATTR{idProduct}=="374b", TAG+="uaccess"',
    "pattern": 'ATTRS{idVendor}=="0483", ATTRS{idProduct}=="374?|3752", MODE="660"',
    "vendor": 'ATTRS{idVendor}=="0483", MODE="660"',
}
OTHERS = {
    "comment": "# " + RULES["exact"],
    "product": RULES["exact"].replace("374b", "3748"),
    "symlink": RULES["exact"].replace('MODE="0666"', 'SYMLINK+="stlink"'),
    "not usb": 'KERNEL=="ttyS*", MODE="0666"',
}


@pytest.mark.parametrize("kind", [*RULES, *OTHERS])
def test_rules_that_are_there_already(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "49-x.rules"
    file.write_text((RULES | OTHERS)[kind] + "\n")
    need = udev.needs(boards.load("nucleo-h743"))[0]
    assert need.name == "0483:374b"
    assert udev.covering(need, [tmp_path / "none", tmp_path]) == (file if kind in RULES else None)


def test_our_own_rules_cover_their_boards(tmp_path: Path) -> None:
    every = [boards.load(name) for name in boards.names()]
    (tmp_path / "99-tinyrobust.rules").write_text(udev.rules(every))
    for board in every:
        for need in udev.needs(board):
            assert udev.covering(need, [tmp_path]), need


def test_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass

    def item(group: Any) -> Any:
        monkeypatch.setattr(grp, "getgrnam", group)
        return _doctor_boards.permissions([], [])[0]

    def dialout(*members: str) -> Any:
        return lambda name: grp.struct_group((name, "x", 424242, list(members)))

    def none(name: str) -> Any:
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    user = getpass.getuser()
    assert f"usermod -aG dialout {user}" in item(dialout("somebody")).how
    assert "log out" in item(dialout(user)).how and "usermod" not in item(dialout(user)).how
    assert "uucp" in item(none).how
    monkeypatch.setattr(os, "getgroups", lambda: [424242])
    assert item(dialout()).found


def test_modem_manager_and_closed_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "ModemManager"
    program.touch()
    rules = tmp_path / "99.rules"
    monkeypatch.setattr(_doctor_boards, "_MODEM_MANAGER", (str(program),))
    monkeypatch.setattr(udev, "FILE", str(rules))
    h743 = boards.load("nucleo-h743")

    def items() -> dict[str, Any]:
        found = _doctor_boards.permissions([h743], ["/dev/no-such-port"])
        return {item.name: item for item in found}

    assert not items()["ModemManager"].found and "systemctl stop" in items()["ModemManager"].how
    assert "ls -l /dev/no-such-port" in items()["port /dev/no-such-port"].how
    rules.write_text(udev.rules([h743]))
    assert items()["ModemManager"].found


def test_one_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    tools = stand_ins.install(tmp_path, monkeypatch, "st_flash", "st_info", "openocd")
    tools.lists("Found 1 stlink programmers\n  serial: 066D\n  dev-type: H74x/H75x\n")
    plug(monkeypatch, Port("/dev/ttyACM4", **ST_LINK, serial_number="066D"))
    file = tmp_path / "mine.yaml"
    text = Path(str(_source("nucleo-h743"))).read_text()
    text = re.sub(r"(?m)^  - \{id: (pyocd|st-flash).*\n", "", text)
    file.write_text(text.replace("flashers:\n", "flashers:\n  - {id: st-flash}\n"))
    assert tinyrobust(["doctor", "--board", str(file), "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "tinyrobust.doctor-board/1" and told["ready"]
    found = {row["name"]: row for row in told["flashers"]}
    assert found["flasher st-flash"]["found"] and found["flasher openocd"]["found"]
    assert {(row["flasher"], row["id"]) for row in told["seen"]} == {
        ("st-flash", "066D"), ("openocd", "066D"),
    }  # fmt: skip
    assert told["ports"][0]["device"] == "/dev/ttyACM4"
    assert "374b" in told["udev_rules"]
    for program in tools.folder.iterdir():
        program.unlink()
    assert tinyrobust(["doctor", "--board", str(file)]) == 1
    said = capsys.readouterr().out
    assert "get it: apt-get install stlink-tools" in said and "no flasher is installed" in said
    assert 'ATTR{idProduct}=="374e"' in said


def _source(name: str) -> Path:
    from tinyrobust import resources

    return resources.root() / "boards" / f"{name}.yaml"


def test_questions_are_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = stand_ins.install(tmp_path, monkeypatch, "st_flash", "st_info")
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    rows = [board_with({"id": "st-flash"}, id=f"board-{n}") for n in range(3)]
    assert _doctor_boards.seen(rows) == []
    assert tools.lines() == [["--probe"]]
    assert flash.flashers()["st-flash"].devices(rows[0], rows[0].flashers[0]) == []
    assert len(tools.lines()) == 2


def test_the_whole_machine_lists_flashers(capsys: Any) -> None:
    tinyrobust(["doctor", "--json", "-"])
    told = json.loads(capsys.readouterr().out)
    names = {row["name"] for row in told["flashers"]}
    wanted = {row.id for name in boards.names() for row in boards.load(name).flashers}
    assert names == {f"flasher {name}" for name in wanted - {"pyocd", "openocd", "virtual"}}
