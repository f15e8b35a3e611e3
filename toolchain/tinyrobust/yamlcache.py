"""Parsed YAML kept between runs: reading 48 kernel.yaml anew costs seconds at every command.

In: the bytes of a YAML file. Out: the same plain tree that parsing them gave once. Entries are
``<user's cache>/tinyrobust/yaml/<SHA-256 of the YAML>.json``: the SHA-256 of the tree's JSON, a
line feed, the JSON. The folder is private; one that another user owns or can write to is not
used, and what is damaged is parsed and written again. A tree that JSON does not give back alike
(a date, a number as a key) is never kept. No error is raised: without a cache, all is parsed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

FORMAT = b"tinyrobust yaml 1\n"  # part of the key: a change of what trees hold begins anew
MAX_ENTRIES = 1024  # above it the oldest go: edited files leave their former trees behind
MAX_BYTES = 1 << 20


def tree(data: bytes, parse: Callable[[], Any]) -> Any:
    """The plain tree of the YAML text ``data``; ``parse`` gives it when it is not kept yet.

    Raises only what ``parse`` raises.
    """
    folder = _folder()
    if folder is None:
        return parse()
    path = folder / f"{hashlib.sha256(FORMAT + data).hexdigest()}.json"
    kept = _read(path)
    if kept is not None:
        return kept
    made = parse()
    _keep(path, made)
    return made


def _folder() -> Path | None:
    """The folder of the entries, made when it is missing; None when it must not be trusted."""
    import platformdirs

    folder = platformdirs.user_cache_path("tinyrobust") / "yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.lstat()
    except OSError:
        return None
    own = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if own and stat.S_ISDIR(found.st_mode) else None


def _read(path: Path) -> Any:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
                return None
            mark, _, text = file.read(2 * MAX_BYTES).partition(b"\n")
        whole = mark.decode("ascii", "replace") == hashlib.sha256(text).hexdigest()
        return json.loads(text) if whole else None
    except (OSError, ValueError, RecursionError):
        return None


def _keep(path: Path, made: Any) -> None:
    """Write an entry, in one step; not being able to is no fault."""
    import tempfile

    try:
        if not _as_in_json(made):
            return
        text = json.dumps(made, separators=(",", ":")).encode()
        if len(text) > MAX_BYTES:
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _prune(path.parent)
    except (OSError, ValueError, RecursionError):
        return


def _prune(folder: Path) -> None:
    entries = list(folder.iterdir())
    if len(entries) <= MAX_ENTRIES:
        return
    with contextlib.suppress(OSError):  # another process prunes too
        entries.sort(key=lambda path: path.stat().st_mtime)
    for path in entries[: len(entries) - MAX_ENTRIES // 2]:
        path.unlink(missing_ok=True)


def _as_in_json(node: Any) -> bool:
    """True when JSON gives ``node`` back alike. ruamel's scalars are subclasses of str, int and
    float, which JSON writes as those; its ScalarBoolean is an int, and would come back as one."""
    if isinstance(node, dict):
        return all(isinstance(key, str) and _as_in_json(value) for key, value in node.items())
    if isinstance(node, list):
        return all(_as_in_json(value) for value in node)
    if type(node).__name__ == "ScalarBoolean":
        return False
    return node is None or isinstance(node, (str, int, float))
