"""UF2: the file, byte by byte, and a folder that behaves like the boot loader's drive."""

from __future__ import annotations

import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.flash.test_flashers import CONTENT, Built, board_with, image  # noqa: F401
from tests.patience import PATIENCE_S
from tinyrobust import flash
from tinyrobust.errors import BuildError, FlashError
from tinyrobust.flash import uf2 as flasher
from tinyrobust.image.uf2 import uf2

ROW = {"id": "uf2", "volume": "RPI-RP2", "family": 0xE48BFF56}
INFO = "UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n"


@pytest.mark.parametrize("size", [1, 255, 256, 257, 10240])
def test_blocks(size: int) -> None:
    data = (CONTENT * 2)[:size]
    made = uf2(data, 0x10000000, 0xE48BFF56)
    blocks = [made[at : at + 512] for at in range(0, len(made), 512)]
    back = b""
    for number, block in enumerate(blocks):
        assert block[:8] == b"UF2\n\x57\x51\x5d\x9e" and block[508:] == b"\x30\x6f\xb1\x0a"
        flags, address, count, index, total, family = struct.unpack_from("<6I", block, 8)
        assert (flags, count, index, total, family) == (0x2000, 256, number, len(blocks),
                                                        0xE48BFF56)  # fmt: skip
        assert address == 0x10000000 + 256 * number
        back += block[32 : 32 + 256]
        assert not any(block[32 + 256 : 508])
    assert len(made) % 512 == 0 and back == data.ljust(len(back), b"\0")
    assert len(back) - len(data) < 256


def test_what_uf2_cannot_hold() -> None:
    for data, address in ((b"", 0), (b"x", 0x10000010)):
        with pytest.raises(BuildError, match="cannot hold"):
            uf2(data, address, 1)


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mounted drive whose name has a blank, as proc(5) writes it."""
    folder = tmp_path / "media" / "my drive"
    folder.mkdir(parents=True)
    (folder / "INFO_UF2.TXT").write_text(INFO)
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\n"
        f"/dev/sdb1 {str(folder).replace(' ', chr(92) + '040')} vfat rw,nosuid 0 0\n"
        f"/dev/sdc1 {tmp_path} vfat rw 0 0\n"  # a drive that is no boot loader
    )
    monkeypatch.setattr(flasher, "_MOUNTS", mounts)
    monkeypatch.setattr(flasher, "_BY_LABEL", tmp_path / "by-label")
    return folder


def eject_when_full(drive: Path, size: int) -> threading.Thread:
    """What the boot loader does: when all blocks are there, it starts the image and is gone."""

    def watch() -> None:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            file = drive / "firmware.uf2"
            if file.is_file() and file.stat().st_size == size:
                file.rename(drive.parent / "taken.uf2")
                (drive / "INFO_UF2.TXT").unlink()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_copied_to_the_drive(image: Built, drive: Path) -> None:  # noqa: F811
    wanted = uf2(CONTENT, 0x08000000, 0xE48BFF56)
    thread = eject_when_full(drive, len(wanted))
    heard: list[tuple[str, float | None]] = []
    done = flash.flash(image, board_with(ROW), progress=lambda *what: heard.append(what))
    thread.join()
    assert done.flasher == "uf2" and (drive.parent / "taken.uf2").read_bytes() == wanted
    assert heard[-1][0].startswith("waiting for") and ("", 1.0) in heard


def test_found_by_folder_label_or_board_id(drive: Path, tmp_path: Path) -> None:
    board = board_with(ROW)

    def seen() -> list[str]:
        return [d.id for d in flash.flashers()["uf2"].devices(board, board.flashers[0]) or []]

    assert seen() == [str(drive)]
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nBoard-ID: OTHER\n")
    assert seen() == []
    labels = tmp_path / "by-label"
    labels.mkdir()
    (labels / "RPI-RP2").symlink_to("/dev/sdb1")
    assert seen() == [str(drive)]
    (drive / "INFO_UF2.TXT").unlink()
    assert seen() == []


def test_dry_run_can_be_pasted(image: Built, drive: Path) -> None:  # noqa: F811
    done = flash.flash(image, board_with(ROW), dry_run=True)
    file = image.bin.with_suffix(".uf2")
    assert done.commands == [["cp", str(file), str(drive)], ["sync"]]
    assert file.is_file() and not (drive / "firmware.uf2").exists()
    (drive / "INFO_UF2.TXT").unlink()
    done = flash.flash(image, board_with(ROW), dry_run=True)
    assert done.commands[0][2].endswith("/RPI-RP2")


def test_what_goes_wrong(
    image: Built, drive: Path, tmp_path: Path, monkeypatch: Any  # noqa: F811
) -> None:  # fmt: skip
    board = board_with(ROW)
    monkeypatch.setattr(flasher, "_VANISH_S", 0.2)
    with pytest.raises(FlashError, match="still there after") as caught:
        flash.flash(image, board)
    assert "right board" in caught.value.hint
    with pytest.raises(FlashError, match="no UF2 drive"):
        flash.flash(image, board, probe=str(tmp_path))
    (drive / "firmware.uf2").unlink()
    (drive / "firmware.uf2").mkdir()  # nothing can be written there, not even by root
    with pytest.raises(FlashError, match="cannot copy"):
        flash.flash(image, board)
    (drive / "INFO_UF2.TXT").unlink()
    with pytest.raises(FlashError, match="no drive RPI-RP2 is mounted") as caught:
        flash.flash(image, board)
    assert "BOOTSEL" in caught.value.hint
    (tmp_path / "by-label").mkdir()
    (tmp_path / "by-label" / "RPI-RP2").touch()
    with pytest.raises(FlashError, match="not mounted") as caught:
        flash.flash(image, board)
    assert caught.value.hint.startswith("udisksctl mount -b")
