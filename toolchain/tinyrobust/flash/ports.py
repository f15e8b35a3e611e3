"""Stage ``flash``: serial ports by their USB ids, and calling a boot loader through one.

In: what pyserial lists. Out: ports. A touch is: open at 1200 baud, close (Arduino platform
specification, "1200 bps bootloader reset").
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from tinyrobust.boards.schema import Board, UsbId
from tinyrobust.errors import FlashError, LinkError, TinyRobustError
from tinyrobust.flash._flasher import Device
from tinyrobust.flash._tool import Progress

TOUCH_BAUD = 1200
APPEAR_S = 10.0  # a boot loader is there within a second or two; slow hubs take longer
_POLL_S = 0.1
PLACEHOLDER = "PORT"  # in a dry run without the board


def listed() -> list[Any]:
    """pyserial's list."""
    from serial.tools import list_ports

    return list(list_ports.comports())


def with_ids(ids: Sequence[UsbId], others: Sequence[UsbId] = ()) -> list[Device]:
    """Ports with one of ``ids``, but none of ``others``: id is the port's name."""
    wanted = {(usb.vid, usb.pid) for usb in ids} - {(usb.vid, usb.pid) for usb in others}
    return [
        Device(str(p.device), str(getattr(p, "serial_number", None) or ""),
               str(getattr(p, "description", None) or ""))
        for p in sorted(listed(), key=lambda p: str(p.device))
        if (p.vid, p.pid) in wanted
    ]  # fmt: skip


def attached(board: Board) -> list[Device]:
    """Boards whose probe is on board: known by the serial port of the same USB device, whose serial
    number is the probe's."""
    return [
        Device(port.serial, port.serial, f"{port.description} at {port.id}")
        for port in with_ids(board.serial.usb_ids)
        if port.serial
    ]


def named(found: Sequence[Device], probe: str | None) -> str:
    """The port among ``found`` that ``probe`` names (port or serial number; None: the only one)."""
    fits = [port.id for port in found if probe is None or probe in (port.id, port.serial)]
    return fits[0] if len(fits) == 1 or (probe is not None and fits) else ""


def only(found: Sequence[Device], what: str) -> str:
    """The one port of ``found``, or nothing. Raises FlashError: several."""
    if len(found) > 1:
        names = ", ".join(port.id for port in found)
        raise FlashError(f"{len(found)} {what} are attached: {names}", "name one with --probe")
    return found[0].id if found else ""


def serial_of(port: str) -> str:
    """The USB serial number of ``port``, nothing when it has none."""
    known = {str(p.device): str(getattr(p, "serial_number", None) or "") for p in listed()}
    return known.get(port, "")


def find_port(board: Board, serial: str | None = None) -> str:
    """The serial port whose USB ids are the board's; of several, the one of USB ``serial``.

    Raises LinkError: none, or several.
    """
    found = with_ids(board.serial.usb_ids)
    mine = [port for port in found if serial and port.serial.lower() == serial.lower()]
    if len(mine) == 1 or len(found) == 1:
        return (mine or found)[0].id
    if not board.serial.usb_ids:
        raise LinkError(
            f"the {board.id} has no USB port of its own for its UART: {board.serial.device}",
            "connect a USB-to-serial adapter and give its --port, or flash without the check: "
            "--no-check",
        )
    if not found:
        raise LinkError(
            f"no serial port of a {board.id} is attached, so its image could not be checked",
            "plug it in, give --port, or flash without the check: --no-check",
        )
    raise LinkError(
        f"{len(found)} serial ports could be the {board.id}: "
        f"{', '.join(port.id for port in found)}",
        "name one with --port, or flash all of them: --all",
    )


def touch_commands(port: str) -> list[list[str]]:
    """A command that touches like ``touch``, for a dry run; it waits as long as is usual."""
    return [["stty", "-F", port or PLACEHOLDER, str(TOUCH_BAUD)], ["sleep", "2"]]


def touch_board(
    board: Board, ids: Sequence[UsbId], progress: Progress, probe: str | None = None
) -> str:
    """Touch the port of the running ``board``, one with ``ids``; its USB serial number.

    Raises FlashError: there is none, or it cannot be opened.
    """
    found = with_ids(ids)
    port = named(found, probe) or (only(found, "boards") if probe is None else "")
    if not port:
        raise FlashError(
            f"neither a {board.id} nor its boot loader is attached",
            "plug it in; firmware without USB does not hear the call: press reset twice",
        )
    progress(f"calling the boot loader: {port} at {TOUCH_BAUD} baud", None)
    touch(port)
    return next((device.serial for device in found if device.id == port), "")


def touch(port: str) -> None:
    """Open ``port`` at 1200 baud and close it. Raises FlashError."""
    import serial

    try:
        line = serial.Serial(port, TOUCH_BAUD, exclusive=True)
        with line, contextlib.suppress(OSError):  # a line may have no modem signals
            line.dtr = False
    except (OSError, ValueError) as error:  # SerialException is an OSError
        if "No such" in str(error):
            raise FlashError(f"{port} is gone", "plug the board in again") from error
        raise FlashError(
            f"cannot open {port} at {TOUCH_BAUD} baud: {error}",
            "close the other program that has it; `tinyrobust doctor` tells about permissions",
        ) from error


def wait_until(there: Callable[[], bool], timeout_s: float, error: TinyRobustError) -> None:
    """Wait for ``there``; raises ``error`` after ``timeout_s``."""
    end = time.monotonic() + timeout_s
    while not there():
        if time.monotonic() > end:
            raise error
        time.sleep(_POLL_S)
