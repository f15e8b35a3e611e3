"""``monitor --fault``: the real pyOCD reads a modelled chip whose memory holds a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinyrobust import boards
from tinyrobust.cli.main import run as tinyrobust
from tinyrobust.flash.fault_record import report
from tinyrobust.virtual.debug_target import DebugTarget
from tinyrobust.virtual.faults import Symbols
from tinyrobust.virtual.probe import ProbeServer


class Names(Symbols):
    """One function, and a guard."""

    def __init__(self) -> None:
        super().__init__(None)
        self._functions = [(0x08000100, 0x40, "conv"), (0x08000200, 0x40, "run")]
        self._values = {"tr_stack_guard": 0x20000000}


FRAME = {"pc": 0x08000110, "lr": 0x08000205}


@pytest.mark.parametrize(
    ("cfsr", "hfsr", "address", "kind", "said"),
    [
        (1 << 16, 1 << 30, None, "undefined", "UNDEFINSTR"),
        (1 << 25, 1 << 30, None, "division", "DIVBYZERO"),
        (1 << 19, 1 << 30, None, "no_fpu", "NOCP"),
        (1 << 24, 1 << 30, None, "misaligned", "UNALIGNED"),
        (1 << 1 | 1 << 7, 1 << 30, 0x08000000, "protection", "address 0x08000000"),
        (1 << 1 | 1 << 7, 1 << 30, 0x2000001C, "stack_guard", "DACCVIOL"),
        (1 << 4, 1 << 30, None, "stack_guard", "MSTKERR"),
        (1 << 20, 1 << 30, None, "stack_guard", "STKOF"),
        (1 << 9 | 1 << 15, 1 << 30, 0x70000000, "unmapped", "address 0x70000000"),
        (1 << 0, 1 << 30, None, "execution", "IACCVIOL"),
        (0, 1 << 31, None, "breakpoint", "DEBUGEVT"),
        (0, 0, None, "exception", "HardFault"),  # Armv6-M has no CFSR
    ],
)
def test_causes(cfsr: int, hfsr: int, address: int | None, kind: str, said: str) -> None:
    at = 0 if address is None else address
    found = report([0x2001FF00, 0xFFFFFFF9, 3, cfsr, hfsr, at, at], FRAME, Names())
    assert (found.kind, found.address, found.function) == (kind, address, "conv+0x10")
    assert found.caller.startswith("run") and said in found.summary()


@pytest.mark.slow
def test_read_through_a_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tinyrobust(["build", "--board", "nucleo-h743"]) == 0
    folder = Path("build/nucleo-h743/shapes-small")
    symbols = Symbols(folder / "firmware.elf")
    record = symbols.value("tr_fault_record")
    assert record is not None
    image = (folder / "firmware.bin").read_bytes()
    target = DebugTarget(boards.load("nucleo-h743"), image)
    function, _, name = next(f for f in symbols._functions if f[2] == "tr_protocol_feed")

    def write(address: int, *words: int) -> None:
        for i, word in enumerate(words):
            target.write(address + 4 * i, word)

    with ProbeServer(target, 0) as probe:
        line = ["monitor", "--board", "nucleo-h743", "--fault", "--probe", probe.probe_id]
        assert tinyrobust(line) == 0
        assert "no fault" in capsys.readouterr().out
        write(record, 0x2001FF00, 0xFFFFFFF9, 3, 1 << 16, 1 << 30, 0, 0)
        write(0x2001FF00, 0, 1, 2, 3, 12, function + 9, function + 4, 1 << 24)
        assert tinyrobust([*line, "--json", "fault.json"]) == 2
        said: Any = capsys.readouterr().err
        assert "nucleo-h743 stopped: undefined instruction (HardFault, UNDEFINSTR) at " in said
        assert f"in {name}+0x4, called from {name}+0x8" in said and "pc 0800" in said
        told = json.loads(Path("fault.json").read_text())
        assert told["schema"] == "tinyrobust.fault/1" and told["fault"]["kind"] == "undefined"
        write(record, 0)  # a record whose stack pointer is nowhere still says the cause
        assert tinyrobust(line) == 2
        assert "UNDEFINSTR" in capsys.readouterr().err
    other = DebugTarget(boards.load("nucleo-h743"), image[:-1] + bytes([image[-1] ^ 1]))
    with ProbeServer(other, 0) as probe:
        assert tinyrobust([*line[:-1], probe.probe_id]) == 2
        assert "another image" in capsys.readouterr().err
    assert tinyrobust(line) == 2
    assert "start the remote probe first" in capsys.readouterr().err


def test_options_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert tinyrobust(["monitor", "--board", "host", "--virtual", "--probe", "x"]) == 1
    assert "--probe is for --fault" in capsys.readouterr().err
