"""Rows of ``flashers`` in a board file: what each flasher needs, and what it may not have."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tinyrobust.boards.schema import Flasher

GOOD: list[dict[str, Any]] = [
    {"id": "pyocd", "target": "stm32h743xx"},
    {"id": "openocd", "config": "board/st_nucleo_f7.cfg"},
    {"id": "openocd", "config": "target/nrf52.cfg", "interface": "interface/jlink.cfg"},
    {"id": "st-flash"},
    {"id": "stm32cubeprogrammer"},
    {"id": "dfu-util", "usb": {"vid": 0x2341, "pid": 0x035B}, "alt": 0},
    {"id": "dfu-util", "usb": {"vid": 1, "pid": 2}, "touch": {"vid": 0x2341, "pid": 0x025B}},
    {"id": "bossac", "usb": {"vid": 0x03EB, "pid": 0x6124}, "offset": 0x10000},
    {"id": "arduino-cli", "fqbn": "arduino:mbed_nano:nano33ble"},
    {"id": "uf2", "volume": "RPI-RP2", "family": 0xE48BFF56},
    {"id": "gdb"},
    {"id": "gdb", "remote": None},
    {"id": "gdb", "remote": "localhost:3333"},
    {"id": "virtual"},
    {"id": "one-of-the-users", "target": "x"},
]


@pytest.mark.parametrize("row", GOOD, ids=lambda row: str(row["id"]))
def test_good_rows(row: dict[str, Any]) -> None:
    assert Flasher.model_validate(row).id == row["id"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "pyocd"}, "flasher pyocd needs 'target'"),
        ({"id": "openocd", "target": "x"}, "flasher openocd needs 'config'"),
        ({"id": "openocd", "config": "x", "target": "x"}, "flasher openocd has no key 'target'"),
        ({"id": "st-flash", "offset": 4}, "flasher st-flash has no key 'offset'"),
        ({"id": "dfu-util"}, "flasher dfu-util needs 'usb'"),
        ({"id": "uf2", "volume": "X"}, "flasher uf2 needs 'family'"),
        ({"id": "bossac", "usb": {"vid": 1, "pid": 2}, "alt": 1}, "bossac has no key 'alt'"),
        ({"id": "arduino-cli", "fqbn": "arduino"}, "fqbn"),
        ({"id": "gdb", "remote": "localhost"}, "remote"),
        ({"id": "virtual", "speed": 1}, "speed"),
        ({"id": "dfu-util", "usb": {"vid": 0x10000, "pid": 1}}, "vid"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_bad_rows_name_the_key(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Flasher.model_validate(row)
