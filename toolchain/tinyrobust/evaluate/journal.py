"""The records file, ``records.jsonl``; this docstring is its specification.

One JSON object per line, UTF-8, appended and fsynced one by one. ``type`` says what it is:

* ``header`` (first, once): ``schema`` "tinyrobust.records/1", ``config_sha256``, ``config``
  (``Config.header()``), ``started`` (UTC, ISO 8601), ``command``,
  ``versions``, ``about`` (model and board).
* ``device``: ``board``, ``model``, ``image_sha256``, ``graph_sha256``, ``clock_hz``,
  ``is_virtual``, ``counter``: {unit, per_count} of its cycle counts; unit is "instructions",
  "cycles", or null where the counts say nothing.
* ``batch``: ``series`` (``Series.key``), ``first`` (index of the first image), ``labels``,
  ``predicted`` (by the device), ``expected`` (by the interpreter), ``score_differences``
  (integers in which the device's scores differ from the interpreter's), ``cycles`` {min, max, sum},
  ``device_s``; for attacks also ``distance_255`` and ``distance_l2`` (largest), and, null or
  missing when replayed, ``queries`` (in all), ``queries_each``, ``craft_s``, ``skipped``,
  ``success``, ``moved``, ``norms`` {linf, l2} of what the attack found (null: nothing),
  ``targets`` (null: untargeted), ``log`` of the attack, and ``oracle`` {name, asked, s,
  retried}: who answered, how many images, in how many seconds, how often it was lost and met again.
* ``masking``: what ``probe.py`` measured for the signs of gradient masking.
* ``layers``: ``layers``: [{name, kernel, macs, cycles}] of one inference, not the session's first.
* ``memory``: ``image`` (memory.json of the build), ``marks`` (the device's high-water marks after
  the start of a session).
* ``done``: ``seconds`` of the run that finished; ``finished`` (UTC).

A killed run leaves at most one line without its end, which is cut off when the file is opened.
A later record of the same series and ``first`` (or type) takes the place of an earlier one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tinyrobust.artefact import canonical_json, write_bytes
from tinyrobust.errors import TinyRobustError
from tinyrobust.evaluate.config import Config
from tinyrobust.evaluate.records import KINDS, OTHER
from tinyrobust.reading import bounded, document, typed
from tinyrobust.writing import append

SCHEMA = "tinyrobust.records/1"
FILE = "records.jsonl"
MAX_BYTES = 1 << 30
_FRESH = "run `tinyrobust evaluate --fresh`"


class Journal:
    """Records of one Config in one folder. ``put_aside``: where others' records went, if any."""

    def __init__(self, folder: Path, config: Config, *, fresh: bool = False, **header: Any) -> None:
        self.path = folder / FILE
        self.put_aside: Path | None = None
        self.records: list[dict[str, Any]] = []
        if self.path.exists():
            if fresh:
                self.path.unlink()
            else:
                self._resume(config)
        if not self.records:
            first = {
                "type": "header", "schema": SCHEMA, "config_sha256": config.sha256,
                "config": config.header(), "started": now(), **header,
            }  # fmt: skip
            write_bytes(self.path, _line(first))
            self.records.append(json.loads(_line(first)))  # as a later reader will see it

    def _resume(self, config: Config) -> None:
        try:
            records = read(self.path)
        except TinyRobustError:
            records = []
        if records and records[0]["config_sha256"] == config.sha256:
            self._cut_last_line()
            self.records = records
            return
        mark = records[0]["config_sha256"][:8] if records else "damaged"
        self.put_aside = self.path.with_name(f"records-{mark}.jsonl")
        self.path.replace(self.put_aside)

    def _cut_last_line(self) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):
            write_bytes(self.path, whole)

    def append(self, record: dict[str, Any]) -> None:
        """Write one record and force it to the disk; on failure nothing of it stays."""
        line = _line(record)
        try:
            append(self.path, line)
        except TinyRobustError as error:
            raise TinyRobustError(
                error.message, "free some disk space and run the same command to go on"
            ) from error
        self.records.append(json.loads(line))

    def batches(self) -> Iterator[dict[str, Any]]:
        """The batch records."""
        return (r for r in self.records if r["type"] == "batch")

    def last(self, kind: str) -> dict[str, Any] | None:
        """The newest record of type ``kind``."""
        return next((r for r in reversed(self.records) if r["type"] == kind), None)


def read(path: Path) -> list[dict[str, Any]]:
    """All whole records of a file, header first.

    Raises TinyRobustError when it is missing, or a line is damaged, or it has another schema.
    """
    path = path / FILE if path.is_dir() else path
    lines = bounded(path, MAX_BYTES, hint="run `tinyrobust evaluate` first").split(b"\n")
    records = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last newline is a cut line
        where = f"{path}:{number}"
        record = document(line, where, hint=_FRESH)
        kind = record.get("type") if isinstance(record, dict) else None
        if not isinstance(kind, str) or (number > 1 and kind == "header"):
            raise TinyRobustError(f"{where}: not a record", _FRESH)
        typed(KINDS.get(kind, OTHER), record, where, hint=_FRESH)
        records.append(record)
    if not records or records[0]["type"] != "header":
        raise TinyRobustError(f"{path} does not begin with a '{SCHEMA}' header", _FRESH)
    return records


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _line(record: dict[str, Any]) -> bytes:
    return canonical_json(record).encode() + b"\n"
