"""Program a virtual board: its flash is a file, written by the rules of flash memory."""

from __future__ import annotations

from tinyrobust.artefact import write_bytes
from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.errors import FlashError, TinyRobustError
from tinyrobust.flash._flasher import Device, Job
from tinyrobust.flash._tool import NO_PROGRESS, Progress
from tinyrobust.flash.state import elf_file, flash_file
from tinyrobust.virtual.flash_array import FlashArray


class _Virtual:
    virtual = True
    needs = "nothing"
    probe_is = "nothing: there is one"

    def where(self) -> str:
        return "built in"

    def missing(self) -> str:
        return ""

    def addressed(self, entry: Entry, probe: str | None) -> bool:
        return True

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        return [Device("virtual", "", f"the virtual {board.id}")]

    def commands(self, job: Job) -> list[list[str]]:
        """No command does it: this is for people."""
        return [["write", str(job.image.bin), "to", str(flash_file(job.board))]]

    def program(self, job: Job, progress: Progress = NO_PROGRESS) -> None:
        """Sectors under the image are erased, its words programmed, the file replaced whole."""
        file = flash_file(job.board)
        image = _read(job)
        if job.board.is_host:  # a process has no flash: the executable itself is kept
            content = image
        else:
            try:
                before = file.read_bytes() if file.is_file() else b""
            except OSError as error:
                raise FlashError(f"cannot read {file}: {error.strerror}", "delete it") from error
            if len(before) not in (0, job.board.flash.length):
                before = b""  # of an older board file
            array = FlashArray(job.board, before)
            array.write(job.board.image_origin, image)
            content = bytes(array.data)
        try:
            write_bytes(elf_file(job.board), job.image.elf.read_bytes())
            write_bytes(file, content)
            if job.board.is_host:
                file.chmod(0o755)
        except (OSError, TinyRobustError) as error:
            raise FlashError(
                f"the virtual {job.board.id} was not flashed: {error}",
                "free some disk space, or set XDG_STATE_HOME to another folder",
            ) from error


def _read(job: Job) -> bytes:
    try:
        return job.image.bin.read_bytes()
    except OSError as error:
        raise FlashError(
            f"cannot read {job.image.bin}: {error.strerror}", "build it again: tinyrobust build"
        ) from error


flasher = _Virtual()
