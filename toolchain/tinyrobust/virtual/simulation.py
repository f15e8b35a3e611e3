"""Stage ``virtual``: a virtual board that is kept running, with a probe beside it if wanted.

In: a board and what its flash holds. Out: one port for as long as it lasts. A debugger on the
probe stops the firmware and starts it again from what it has programmed; the port stays the same.
A board of QEMU's has a GDB stub instead, and may start empty, waiting for a debugger to load it.
While the firmware runs, the debugger sees the memories as they were when it let go.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

from tinyrobust.boards.schema import Board
from tinyrobust.errors import BoardError
from tinyrobust.virtual.board import VirtualBoard, start
from tinyrobust.virtual.debug_target import DebugTarget
from tinyrobust.virtual.flash_array import ERASED
from tinyrobust.virtual.probe import ProbeServer
from tinyrobust.virtual.terminal import Terminal
from tinyrobust.writing import discard, make_scratch

_SETTLE_S = 0.3  # a debugger resets several times; start the firmware when it has let go


class Simulation:
    """A context manager; ``wait`` runs it. ``probe_port`` and ``gdb_port`` 0 take any free port.

    ``flash_file`` holds the flash from ``flash_offset`` on: an image behind a bootloader's room.
    """

    def __init__(
        self,
        board: Board,
        flash_file: Path | None,
        elf: Path | None = None,
        *,
        strict: bool = False,
        probe_port: int | None = None,
        gdb_port: int | None = None,
        flash_offset: int = 0,
    ) -> None:
        self._board, self._elf, self._strict = board, elf, strict
        self._changed = threading.Condition()
        self._wish: tuple[float, bytes | None] | None = None
        self._folder = make_scratch("virtual")
        self._running: VirtualBoard | None = None
        self.probe: ProbeServer | None = None
        self._gdb: socket.socket | None = None
        self._terminal = Terminal.open()
        try:
            if flash_file is not None and flash_offset:
                content = bytes([ERASED]) * flash_offset + _read(flash_file)
                flash_file = self._folder / "start.bin"
                flash_file.write_bytes(content)
            if probe_port is not None:
                content = _read(flash_file) if flash_file else b""
                target = DebugTarget(
                    board, content, on_run=self._ask, on_halt=lambda: self._ask(None)
                )
                self.probe = ProbeServer(target, probe_port)
            if gdb_port is not None:
                self._gdb = _listen(gdb_port)
            self._start(flash_file)
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> str:
        """The serial port."""
        return self._terminal.port

    @property
    def gdb(self) -> str | None:
        """HOST:PORT of the GDB stub, if there is one."""
        return f"127.0.0.1:{self._gdb.getsockname()[1]}" if self._gdb else None

    @property
    def helper(self) -> str:
        """As ``VirtualBoard.helper``; nothing while the firmware is stopped."""
        return self._running.helper if self._running else ""

    def wait(self, timeout_s: float) -> None:
        """Keep it running for ``timeout_s``. Raises DeviceFault when the firmware faults."""
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait(min(left, 0.2))
                wish = self._wish
                if wish is not None and wish[1] and time.monotonic() - wish[0] < _SETTLE_S:
                    continue
                self._wish = None
            if wish is not None:
                self._stop()
                if wish[1] is not None:
                    file = self._folder / "flash.bin"
                    file.write_bytes(wish[1])
                    self._start(file)
            elif self._running is not None:
                self._running.raise_if_faulted()
                if not self._running.is_alive():
                    raise BoardError(f"the virtual {self._board.id} ended", "start it again")

    def _ask(self, flash: bytes | None) -> None:
        """Called by the probe's thread: run what ``flash`` holds, or None to stop."""
        with self._changed:
            self._wish = (time.monotonic(), flash)
            self._changed.notify()

    def _start(self, flash_file: Path | None) -> None:
        self._running = start(
            self._board, None, flash_file=flash_file, elf=self._elf, strict=self._strict,
            terminal=self._terminal, gdb=self._gdb,
        )  # fmt: skip

    def _stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    def close(self) -> None:
        """Stop the board, close the port and the probe."""
        if self.probe is not None:
            self.probe.close()
            self.probe = None
        self._stop()
        if self._gdb is not None:
            self._gdb.close()
            self._gdb = None
        for descriptor in (self._terminal.device, self._terminal.user):
            try:
                os.close(descriptor)
            except OSError:
                continue  # closed before
        discard(self._folder)

    def __enter__(self) -> Simulation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise BoardError(
            f"the GDB stub cannot listen on port {port}: {error.strerror}",
            "another program has it; choose another --gdb-port",
        ) from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BoardError(
            f"cannot read {file}: {error.strerror}", "check the path and its permissions"
        ) from error
