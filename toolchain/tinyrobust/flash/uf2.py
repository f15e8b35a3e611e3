"""Program a board by copying a UF2 file to the drive that its boot loader shows.

In: the image. Out: firmware.uf2 beside it, and a copy on the drive, which vanishes when the boot
loader has all of it (https://github.com/microsoft/uf2). Tested with a folder in place of the drive;
it has never been run on hardware by this project.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from tinyrobust.artefact import write_bytes
from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.errors import FlashError, TinyRobustError
from tinyrobust.flash import ports
from tinyrobust.flash._flasher import Device, Job
from tinyrobust.flash._tool import NO_PROGRESS, Progress
from tinyrobust.image.uf2 import uf2

_VANISH_S = 30.0
_CHUNK_BYTES = 64 * 512
_INFO = "INFO_UF2.TXT"
_MOUNTS = Path("/proc/self/mounts")
_BY_LABEL = Path("/dev/disk/by-label")
_BOOT = "hold BOOTSEL (or press reset twice) while you plug the board in"


class _Uf2:
    virtual = False
    needs = "nothing to install; the board in its boot loader, as a mounted drive"
    probe_is = "the folder that the drive is mounted at"

    def where(self) -> str:
        """Nothing has to be installed."""
        return "built in"

    def missing(self) -> str:
        return ""

    def addressed(self, entry: Entry, probe: str | None) -> bool:
        return True

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """Mounted drives with the board's volume label, or its name in INFO_UF2.TXT."""
        found = []
        for source, folder in mounted():
            info = read_info(folder)
            names = (folder.name, info.get("board-id", ""), _label(source))
            if info and str(entry.volume) in names:
                found.append(Device(str(folder), "", f"{info.get('model', entry.volume)}"))
        return found

    def commands(self, job: Job) -> list[list[str]]:
        """Writes firmware.uf2 beside the image; copying it is what programs."""
        drive = job.probe or ports.only(self.devices(job.board, job.entry) or [], "UF2 drives")
        drive = drive or f"/media/{getpass.getuser()}/{job.entry.volume}"  # where desktops mount it
        return [["cp", str(self._file(job)), drive], ["sync"]]

    def _file(self, job: Job) -> Path:
        assert job.entry.family is not None
        file = job.image.bin.with_suffix(".uf2")
        try:
            content = uf2(job.image.bin.read_bytes(), job.start, job.entry.family)
            write_bytes(file, content)
        except (OSError, TinyRobustError) as error:
            raise FlashError(f"cannot write {file}: {error}", "free some disk space") from error
        return file

    def program(self, job: Job, progress: Progress = NO_PROGRESS) -> None:
        """Copy, and wait until the drive is gone."""
        drive = self._drive(job, progress)
        content = self._file(job).read_bytes()
        target = drive / "firmware.uf2"
        try:
            with target.open("wb", buffering=0) as file:
                for at in range(0, len(content), _CHUNK_BYTES):
                    file.write(content[at : at + _CHUNK_BYTES])
                    os.fsync(file.fileno())
                    progress("", min(1.0, (at + _CHUNK_BYTES) / len(content)))
        except OSError as error:
            if (drive / _INFO).exists():  # else it took the last block and restarted at once
                raise FlashError(
                    f"cannot copy to {drive}: {error.strerror}",
                    "mount the drive so that you may write to it, or plug the board in again",
                ) from error
        progress(f"waiting for {drive} to vanish", None)
        ports.wait_until(
            lambda: not (drive / _INFO).exists(), _VANISH_S,
            FlashError(f"the drive {drive} is still there after {_VANISH_S:.0f} s: the boot loader "
                       "has not taken the file", f"see {drive}/{_INFO}: is it the right board?"),
        )  # fmt: skip

    def _drive(self, job: Job, progress: Progress) -> Path:
        if job.probe:
            if not (Path(job.probe) / _INFO).is_file():
                raise FlashError(f"{job.probe} is no UF2 drive: it has no {_INFO}", _BOOT)
            return Path(job.probe)
        found = self.devices(job.board, job.entry) or []
        if not found and job.entry.touch:
            ports.touch_board(job.board, [job.entry.touch], progress)
            ports.wait_until(lambda: bool(self.devices(job.board, job.entry)), ports.APPEAR_S,
                             self._no_drive(job))  # fmt: skip
            found = self.devices(job.board, job.entry) or []
        if not found:
            raise self._no_drive(job)
        return Path(ports.only(found, "UF2 drives"))

    def _no_drive(self, job: Job) -> FlashError:
        volume = job.entry.volume
        if (_BY_LABEL / str(volume)).exists():
            return FlashError(
                f"the drive {volume} is plugged in but not mounted",
                f"udisksctl mount -b {_BY_LABEL / str(volume)}",
            )
        return FlashError(f"no drive {volume} is mounted", _BOOT)


def mounted() -> list[tuple[str, Path]]:
    """Mounted file systems: source and folder (proc(5), fstab(5): blanks are octal escapes)."""
    if sys.platform == "darwin":
        return [("", folder) for folder in sorted(Path("/Volumes").iterdir())]
    try:
        rows = [line.split() for line in _MOUNTS.read_text().splitlines()]
    except OSError:
        return []
    return [
        (row[0], Path(row[1].encode().decode("unicode_escape")))
        for row in rows
        if len(row) > 2 and row[2] in ("vfat", "msdos", "fuseblk", "exfat")
    ]


def read_info(folder: Path) -> dict[str, str]:
    """INFO_UF2.TXT as keys in lower case and values; nothing when there is none."""
    try:
        lines = (folder / _INFO).read_text(errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {"": "uf2"} | {key.strip().lower(): value.strip() for key, _, value in pairs}


def _label(source: str) -> str:
    """The label of the file system on ``source``, as udev knows it."""
    try:
        for link in _BY_LABEL.iterdir():
            if link.resolve() == Path(source).resolve():
                return link.name
    except OSError:
        pass
    return ""


flasher = _Uf2()
