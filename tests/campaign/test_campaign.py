"""Faults: what is drawn, what an injection does to a core, what becomes of a built network."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tinyrobust import boards, image, tasks
from tinyrobust.cli.faults import command
from tinyrobust.errors import BoardError, TinyRobustError
from tinyrobust.faults import KINDS, campaign, run, targets
from tinyrobust.faults.run import FAULT, NONE, OTHER, SILENT, WRONG
from tinyrobust.faults.targets import FlashBit, Instructions, Region, draw_bit, every_bit
from tinyrobust.graph.model import load_model
from tinyrobust.image.elf import Elf
from tinyrobust.virtual import Injection, start
from tinyrobust.virtual.injection import Profile, inject
from tinyrobust.virtual.machine import Machine

BOARD = boards.load("nucleo-h743")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> image.Image:
    graph = load_model("shapes-small").graph
    return image.build(graph, BOARD, tmp_path_factory.mktemp("build"), model_name="shapes-small")


# -- what an injection does to a core --------------------------------------------------------


# movs r0, #0 / loop: adds r0, #1 / adds r1, #2 / cmp r0, #5 / bne loop / ldrb r2, [r4] / bkpt
LOOP = bytes.fromhex("0020 0130 0231 0528 fbd1 2278 00be")
LOOP_AT, ADD, ADD_R1, LOAD = (0x08000040 + at for at in (0, 2, 4, 10))


def run_loop(what: Injection | None) -> tuple[dict[str, int], int]:
    """Registers at the breakpoint, and how often the injection happened."""
    ram = next(m for m in BOARD.memories if m.kind == "ram")
    vectors = [ram.origin + 0x400, LOOP_AT | 1, LOOP_AT | 1, LOOP_AT | 1] + [0] * 12
    flash = b"".join(word.to_bytes(4, "little") for word in vectors) + LOOP
    reader, writer = os.pipe()
    happened: list[int] = []
    try:
        machine = Machine(BOARD, flash, writer)
        if what is not None:
            inject(machine.engine, what, lambda: happened.append(1))
        report = machine.run()
    finally:
        os.close(reader)
        os.close(writer)
    assert report is not None and report.kind == "breakpoint", report
    return dict(report.registers), len(happened)


def test_without_a_fault_the_loop_counts() -> None:
    registers, _ = run_loop(None)
    assert (registers["r0"], registers["r1"]) == (5, 10)


def test_an_instruction_is_skipped_once() -> None:
    for turn in (1, 3, 5):
        registers, happened = run_loop(Injection("skip", ADD_R1, turn))
        assert (registers["r0"], registers["r1"], happened) == (5, 8, 1)
    registers, happened = run_loop(Injection("skip", ADD, 2))  # one more round of the loop
    assert (registers["r0"], registers["r1"], happened) == (5, 12, 1)


def test_a_bit_of_a_register_is_flipped() -> None:
    registers, happened = run_loop(Injection("register", ADD_R1, 2, where=1, bit=4))
    assert (registers["r1"], happened) == (10 + 16, 1)  # r1 was 2: the bit was clear
    registers, _ = run_loop(Injection("register", ADD_R1, 4, where=7, bit=31))
    assert registers["r7"] == 1 << 31 and registers["r1"] == 10


def test_a_bit_of_memory_is_flipped() -> None:
    """The load reads address 0, which is RAM on this core and holds noise."""
    sound, _ = run_loop(None)
    registers, happened = run_loop(Injection("memory", LOAD, 1, where=0, bit=1))
    assert (registers["r2"], happened) == (sound["r2"] ^ 2, 1)


def test_what_does_not_run_so_often_does_not_happen() -> None:
    registers, happened = run_loop(Injection("skip", ADD_R1, 6))
    assert (registers["r1"], happened) == (10, 0)


# -- what is drawn ---------------------------------------------------------------------------


def test_the_regions_are_the_images_bytes(built: image.Image) -> None:
    elf = Elf(built.elf)
    regions = targets.flash_regions(elf, BOARD)
    base, content = elf.flash_image()
    for region in (r for each in regions.values() for r in each):
        assert base <= region.address and region.address + region.bytes <= base + len(content)
    sizes = {kind: sum(r.bytes for r in each) for kind, each in regions.items()}
    parts = {p.name: p.bytes for p in built.memory.flash.parts}
    assert sizes["weights"] == parts["weights"] and sizes["tables"] == parts["tables"]
    start_, size = targets.arena(elf)
    assert size == sum(p.bytes for p in built.memory.ram.parts if p.name == "arena")
    assert any(m.origin <= start_ < m.end for m in BOARD.memories)


def test_bits_are_drawn_from_every_region() -> None:
    regions = [Region("weights", 100, 3), Region("weights", 200, 1)]
    every = set(every_bit(regions))
    assert len(every) == 32
    random = np.random.default_rng(0)
    assert {draw_bit(regions, random) for _ in range(600)} == every


def test_instructions_are_drawn_as_they_run() -> None:
    """In proportion to blocks' runs times their instructions, whatever ran before left out."""
    made = Instructions({64: (7, 16, 6)}, {64: (107, 16, 6), 128: (50, 8, 2), 192: (0, 4, 1)})
    assert made.total == 700
    random = np.random.default_rng(1)
    drawn = [made.draw("skip", random, (0, 1)) for _ in range(3000)]
    often = [d for d in drawn if d.address == 64]
    turns = {d.turn for d in often}
    assert turns <= set(range(43, 643)) and len(turns) > 500 and {d.bytes for d in often} == {16}
    assert abs(len(often) / len(drawn) - 6 / 7) < 0.03
    memory = [made.draw("arena", random, (1000, 4)) for _ in range(200)]
    assert {d.where for d in memory} == {1000, 1001, 1002, 1003}
    assert {d.bit for d in memory} == set(range(8))
    with pytest.raises(TinyRobustError, match="no instruction"):
        Instructions({64: (7, 16, 6)}, {64: (7, 16, 6)})


def test_a_range_counts_every_instruction_in_it() -> None:
    """From the first addition on, 5 rounds of 4 instructions: the sixth is its second one."""
    registers, happened = run_loop(Injection("skip", ADD, 6, bytes=8))
    assert (registers["r0"], registers["r1"], happened) == (5, 8, 1)


# -- what becomes of a built network ---------------------------------------------------------


def test_a_campaign_counts_every_fault_and_repeats(built: image.Image) -> None:
    images, _ = tasks.get("shapes").load("test", 1)
    counts = {"weights": 1, "arena": 1, "skip": 1}
    first = campaign(built, BOARD, images, counts, seed=3)
    again = campaign(built, BOARD, images, counts, seed=3)
    assert [t.as_json() for t in first.tallies] == [t.as_json() for t in again.tallies]
    for tally, count in zip(first.tallies, counts.values(), strict=True):
        assert tally.faults + tally.not_reached == count
        assert set(tally.outcomes) == {WRONG, OTHER, NONE, FAULT, SILENT}
    weights = first.tallies[0]
    answered = sum(weights.outcomes[o] for o in (WRONG, OTHER, NONE))
    assert weights.hash_told == answered  # the hash covers the flash
    assert first.instructions > 10_000


def test_a_flipped_table_changes_scores(
    built: image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The top bit of a bias of the last layer turns the class: found by trying the last table."""
    elf = Elf(built.elf)
    table = targets.flash_regions(elf, BOARD)["tables"][0]
    tops = [FlashBit(table.address + at, 6) for at in range(3, table.bytes, 4)][-8:]
    monkeypatch.setattr(run, "_faults", lambda *_: tops)
    images, _ = tasks.get("shapes").load("test", 1)
    (tally,) = campaign(built, BOARD, images, {"tables": 8}).tallies
    assert tally.outcomes[WRONG] > 0
    assert {w["address"] for w in tally.worst} <= {bit.address for bit in tops}


def test_errors_say_what_is_possible(built: image.Image, tmp_path: Path) -> None:
    images: Any = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(TinyRobustError, match="no kind of fault 'laser'"):
        campaign(built, BOARD, images, {"laser": 1})
    other = replace_unicorn(BOARD)
    profile = Profile(tmp_path / "p", ((0, 2),))
    with pytest.raises(BoardError, match="does not run on Unicorn"):
        start(other, built, profile=profile)
    assert set(KINDS) == {"weights", "tables", "constants", "code", "arena", "registers", "skip"}


def replace_unicorn(board: Any) -> Any:
    """The board without its section for Unicorn."""
    return board.model_copy(update={"unicorn": None})


def test_the_command_shows_and_writes(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    done = CliRunner().invoke(command, [
        "--board", "nucleo-h743", "--kinds", "code", "--faults", "1", "--samples", "1",
        "--out", str(tmp_path / "build"), "--json", str(file),
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    (row,) = json.loads(file.read_text())["kinds"]
    assert row["kind"] == "code" and row["faults"] == 1
    assert "told by the hash" in done.output or "fault in" in done.output


def test_an_injection_is_plain_data() -> None:
    what = Injection("memory", 4, 1, 0x2000, 3)
    assert Injection.from_dict(json.loads(json.dumps(vars(what)))) == what
    assert replace(what, turn=2) != what
