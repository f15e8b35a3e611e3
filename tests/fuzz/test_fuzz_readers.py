"""Readers of files under a few hundred mutations each; ``readers_fuzzer.py`` does more."""

from __future__ import annotations

import pytest

from tests.killed import alone

pytestmark = [pytest.mark.audio, pytest.mark.attacks, pytest.mark.train]  # what the readers need

INPUTS = 120


def test_every_reader_ends_in_one_typed_line() -> None:
    table = alone("tests.fuzz.readers_fuzzer", "--inputs", INPUTS, "--seconds", 20, "--seed", 7)
    rows = [row.split("|") for row in table.splitlines()[2:]]
    assert len(rows) == 14
    for row in rows:
        assert int(row[3].replace(",", "")) >= 1, f"{row[1]}: the good file is refused"
