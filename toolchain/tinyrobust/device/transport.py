"""Stage ``device``, transport: bytes to and from a serial port (a pty is one too).

In: a port's name. Out: an open port that belongs to this process alone. LinkError, with the next
step, when it is missing, busy, forbidden, unplugged or stuck.
"""

from __future__ import annotations

import errno
from typing import Protocol

import serial

from tinyrobust.errors import LinkError

_POLL_S = 0.05
_WRITE_TIMEOUT_S = 10.0


class Transport(Protocol):
    """What the link needs of a port."""

    name: str

    def write(self, data: bytes) -> None:
        """Send all of ``data``. Raises LinkError."""

    def read(self) -> bytes:
        """What has come, after at most some 50 ms; empty when nothing did. Raises LinkError."""

    def set_baud(self, baud: int) -> None:
        """Wait until everything has left, then change the rate. Raises LinkError."""

    def discard_input(self) -> None:
        """Forget what has come and was not read."""

    def close(self) -> None:
        """Give the port back; never raises."""


class SerialTransport:
    """A serial port through pyserial, opened exclusively."""

    def __init__(self, port: str, baud: int) -> None:
        """Open ``port`` at ``baud``, 8N1. Raises LinkError."""
        self.name = port
        try:
            self._serial = serial.Serial(
                port,
                baud,
                timeout=_POLL_S,
                write_timeout=_WRITE_TIMEOUT_S,
                exclusive=True,
            )
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise _cannot_open(port, baud, error) from error

    def fileno(self) -> int:
        """For ``select``."""
        return int(self._serial.fileno())

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise LinkError(
                f"{self.name}: the device has taken no bytes for {_WRITE_TIMEOUT_S:g} s",
                "reset the board, then run again",
            ) from error
        except OSError as error:
            raise self._lost(error) from error

    def read(self) -> bytes:
        try:
            first = self._serial.read(1)
            waiting = self._serial.in_waiting if first else 0
            return first + self._serial.read(waiting) if waiting else first
        except OSError as error:
            raise self._lost(error) from error

    def set_baud(self, baud: int) -> None:
        try:
            self._serial.flush()
            self._serial.baudrate = baud
        except (OSError, ValueError) as error:
            raise LinkError(
                f"{self.name} cannot be set to {baud} baud: {error}", "choose a lower rate: --baud"
            ) from error

    def discard_input(self) -> None:
        try:
            self._serial.reset_input_buffer()
        except OSError as error:
            raise self._lost(error) from error

    def close(self) -> None:
        self._serial.close()

    def _lost(self, error: OSError) -> LinkError:
        return LinkError(
            f"{self.name} is gone: the board was unplugged, or the virtual board ended ({error})",
            "plug the board in (or start it) again and run the same command: it resumes",
        )


def _cannot_open(port: str, baud: int, error: OSError | ValueError) -> LinkError:
    number = getattr(error, "errno", None)
    text = str(error)
    if number == errno.ENOENT or "FileNotFoundError" in text:
        return LinkError(
            f"serial port {port} does not exist",
            "plug the board in; `tinyrobust doctor` lists the ports",
        )
    if number in (errno.EACCES, errno.EPERM) and "PermissionError" not in text:
        return LinkError(
            f"no permission to open serial port {port}",
            "sudo usermod -aG dialout $USER, log out and in again (or add a udev rule)",
        )
    if number in (errno.EBUSY, errno.EAGAIN) or "PermissionError" in text:
        return LinkError(
            f"serial port {port} is in use by another program",
            "close the other program (a serial monitor, a second tinyrobust), then run again",
        )
    return LinkError(
        f"cannot open serial port {port} at {baud} baud: {text}",
        "`tinyrobust doctor` lists the ports",
    )
