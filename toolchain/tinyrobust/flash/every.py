"""Stage ``flash``: several boards at once, each through its own probe and serial port.

In: an image, and the probes, named or found. Out: an ``Outcome`` for every board; one that
fails does not stop the others. A board's serial port is the one with its probe's USB serial number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tinyrobust.boards.schema import Board
from tinyrobust.errors import FlashError, LinkError, TinyRobustError
from tinyrobust.flash import ports
from tinyrobust.flash._flasher import Device, Flasher, Image
from tinyrobust.flash._tool import Progress, stop_tools
from tinyrobust.flash.flash import Flashed, ReadHash, find_flasher, flash

# Makes a progress callback for the board behind a probe.
ProgressOf = Callable[[str], Progress]


@dataclass(frozen=True)
class Target:
    """One board: its probe, and its serial port or why there is none."""

    device: Device
    port: str | None
    trouble: TinyRobustError | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of one board: ``flashed``, or ``error``."""

    target: Target
    flashed: Flashed | None
    error: TinyRobustError | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "probe": self.target.device.id,
            "serial": self.target.device.serial,
            "port": self.target.port,
            "seconds": self.seconds,
            "flashed": self.flashed.as_dict() if self.flashed else None,
            "error": self.error.message if self.error else None,
            "hint": self.error.hint if self.error else None,
        }


def find_targets(
    board: Board,
    flasher: str | None,
    *,
    probes: Sequence[str] = (),
    serial_ports: Sequence[str] = (),
    check: bool = True,
) -> tuple[str, list[Target]]:
    """The flasher's id, and all boards of this type that it sees, or those behind ``probes``.

    ``serial_ports`` are the ports of ``probes``, one each in the same order; without them they are
    matched by USB serial number where ``check`` needs them, and always for what is found: a probe
    may be another board's. Raises FlashError: nothing is plugged in, or the flasher cannot tell.
    """
    if serial_ports and len(serial_ports) != len(probes):
        raise FlashError(
            f"{len(probes)} probes and {len(serial_ports)} ports are no pairs",
            "give --port once for each --probe, in the same order, or leave --port out",
        )
    for what, names in (("probe", probes), ("port", serial_ports)):
        if twice := next((name for name in names if list(names).count(name) > 1), None):
            raise FlashError(f"{what} {twice} is named twice", "name each board once")
    first = probes[0] if probes else None
    tool, entry = find_flasher(board, flasher, virtual=False, probe=first)
    if tool.virtual:
        raise FlashError(f"{board.id} is virtual: there is one", "leave --all out")
    if probes:
        devices = [Device(name, name, "") for name in probes]
    else:
        # Many probes do not say which board they are on: the serial port's USB ids do.
        devices, check = _seen(board, tool, entry.id), check or bool(board.serial.usb_ids)
    if serial_ports:
        pairs = zip(devices, serial_ports, strict=True)
        return entry.id, [Target(device, port) for device, port in pairs]
    return entry.id, [_match(board, device, check) for device in devices]


def _seen(board: Board, tool: Flasher, name: str) -> list[Device]:
    entry = next(row for row in board.flashers if row.id == name)
    found = tool.devices(board, entry)
    if found is None:
        raise FlashError(f"{name} cannot tell what is plugged in",
                         "name the boards: --probe ID --probe ID")  # fmt: skip
    if not found:
        raise FlashError(f"{name} sees no {board.id}",
                         "plug them in; `tinyrobust doctor` lists what is there")  # fmt: skip
    return found


def _match(board: Board, device: Device, check: bool) -> Target:
    found = ports.with_ids(board.serial.usb_ids)
    same = [p.id for p in found
            if device.serial and p.serial.lower() == device.serial.lower()]  # fmt: skip
    if same or not check:
        return Target(device, same[0] if same else None)
    return Target(device, None, LinkError(
        f"no serial port of a {board.id} has the USB serial number of probe {device.id}",
        "if it is one, name it: --probe ID --port PORT (or --no-check)",
    ))  # fmt: skip


def flash_all(
    image: Image,
    board: Board,
    targets: Sequence[Target],
    *,
    flasher: str,
    dry_run: bool = False,
    read_hash: ReadHash | None = None,
    progress_of: ProgressOf,
) -> list[Outcome]:
    """Flash ``targets`` at the same time with ``flasher``; the outcomes in their order.

    A KeyboardInterrupt ends the tools that run, then goes on.
    """

    def one(target: Target) -> Outcome:
        start = time.monotonic()
        flashed = error = None
        try:
            if target.trouble is not None and not dry_run:
                raise target.trouble
            flashed = flash(
                image, board, flasher=flasher, probe=target.device.id, port=target.port,
                dry_run=dry_run, read_hash=read_hash, progress=progress_of(target.device.id),
            )  # fmt: skip
        except TinyRobustError as trouble:
            error = trouble
        return Outcome(target, flashed, error, time.monotonic() - start)

    with ThreadPoolExecutor(max_workers=max(1, len(targets)), thread_name_prefix="flash") as pool:
        waiting = [pool.submit(one, target) for target in targets]
        try:
            return [work.result() for work in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_tools()
            raise
