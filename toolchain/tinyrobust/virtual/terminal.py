"""Stage ``virtual``: a pseudo-terminal that any serial program can open, one end per side."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import sys
import termios
import time
import tty
from dataclasses import dataclass
from pathlib import Path

from tinyrobust.errors import BoardError

_QUIET_S = 0.1


@dataclass(frozen=True)
class Terminal:
    """``device`` is the board's end. ``user`` is kept open too, or the board's end would report a
    hang-up whenever no program has the port open."""

    device: int
    user: int

    @classmethod
    def open(cls) -> Terminal:
        """A new terminal in raw mode."""
        device, user = pty.openpty()
        tty.setraw(user)
        attributes = termios.tcgetattr(user)
        attributes[4] = attributes[5] = termios.B115200  # where devices start
        termios.tcsetattr(user, termios.TCSANOW, attributes)
        os.set_blocking(device, False)
        return cls(device, user)

    @property
    def port(self) -> str:
        """The path to open."""
        return os.ttyname(self.user)

    def drain(self, patience_s: float = 5.0) -> None:
        """Wait until what the board sent has been read, but not longer: hanging up loses it.

        The kernel hands bytes from one end to the other by a worker of its own, late on a busy
        machine: nothing to read counts when it has been so for a while."""
        end = time.monotonic() + patience_s
        read_since = time.monotonic()
        while time.monotonic() < min(end, read_since + _QUIET_S):
            time.sleep(0.005)
            pending = fcntl.ioctl(self.user, termios.FIONREAD, bytes(4))
            if int.from_bytes(pending, sys.byteorder):
                read_since = time.monotonic()

    def close(self) -> None:
        """Hang up: a program that has the port open gets an error at once."""
        os.close(self.device)
        os.close(self.user)


class PortLink:
    """A symbolic link to a port that stays the same from run to run; a context manager."""

    def __init__(self, link: Path, port: str) -> None:
        self._link, self._port = link, port

    def __enter__(self) -> PortLink:
        link = self._link
        if link.exists() and not link.is_symlink():
            raise BoardError(f"{link} exists and is no link", "choose another --link")
        new = link.with_name(f".{link.name}.{os.getpid()}")
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            new.symlink_to(self._port)
            new.replace(link)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise BoardError(
                f"cannot make the link {link}: {error.strerror}", "choose another --link"
            ) from error
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove the link, unless another board has taken it over."""
        with contextlib.suppress(OSError):
            if str(self._link.readlink()) == self._port:
                self._link.unlink()
