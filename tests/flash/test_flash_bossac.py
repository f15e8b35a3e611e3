"""The real bossac onto a modelled SAM3X8E, over a pseudo-terminal, touched at 1200 baud before."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flash.test_flashers import CONTENT, DUE, Built, Port, board_with, image  # noqa: F401
from tests.samba import SamBa
from tinyrobust import boards, flash
from tinyrobust.errors import FlashError

pytestmark = pytest.mark.flashers


def program(image: Built, chip: SamBa, monkeypatch: Any, **row: Any) -> list[Any]:  # noqa: F811
    monkeypatch.setattr("tinyrobust.flash.bossac._SETTLE_S", 0)
    ports = [Port(chip.port, **DUE, serial_number="7543")]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    serial = boards.load("nucleo-h743").as_dict()["serial"] | {"usb_ids": [DUE]}
    board = board_with({"id": "bossac", "usb": DUE, **row}, serial=serial)
    heard: list[Any] = []
    with chip:
        flash.flash(image, board, progress=lambda *what: heard.append(what))
    return heard


def test_flash_is_written_and_verified(image: Built, monkeypatch: Any) -> None:  # noqa: F811
    chip = SamBa()
    heard = program(image, chip, monkeypatch)
    assert chip.flash[: len(CONTENT)] == CONTENT
    assert chip.flash[len(CONTENT) :] == b"\xff" * (len(chip.flash) - len(CONTENT))
    assert chip.boots_from_flash and chip.was_reset
    words = [words for words, _ in heard]
    assert f"calling the boot loader: {chip.port} at 1200 baud" in words
    assert "Verify successful" in words
    parts = [part for _, part in heard if part is not None]
    assert parts.count(1.0) == 2 and len(parts) > 40  # written, then verified, page by page


def test_what_this_chip_cannot_is_told(image: Built, monkeypatch: Any) -> None:  # noqa: F811
    """bossac erases behind an offset with a command that a SAM3X has not."""
    with pytest.raises(FlashError, match="Flash command failed"):
        program(image, SamBa(), monkeypatch, offset=0x3F000)


@pytest.mark.parametrize(
    ("chip", "said", "hint"),
    [
        ({"broken": 3}, "Verify failed", "worn"),
        ({"locked": True}, "Flash page is locked", "bossac -u"),
    ],
    ids=["worn", "locked"],
)
def test_failures_of_a_real_run(
    chip: dict[str, Any], said: str, hint: str, image: Built, monkeypatch: Any  # noqa: F811
) -> None:  # fmt: skip
    with pytest.raises(FlashError) as caught:
        program(image, SamBa(**chip), monkeypatch)
    assert said in caught.value.message and hint in caught.value.hint
