"""Stage ``virtual``: a pseudo-terminal that any serial program can open, one end per side."""

from __future__ import annotations

import os
import pty
import tty
from dataclasses import dataclass


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
        os.set_blocking(device, False)
        return cls(device, user)

    @property
    def port(self) -> str:
        """The path to open."""
        return os.ttyname(self.user)

    def close(self) -> None:
        """Hang up: a program that has the port open gets an error at once."""
        os.close(self.device)
        os.close(self.user)
