"""Compiled code that is kept for later runs, and is loaded or linked only if it is what was kept.

In: files that a compiler made. Out: the same bytes later, or nothing. A kind of code has a folder
of its own under the user's cache folder, private to the user (mode 0700); each entry is a folder
with ``sha256.json``, the hashes of its files as they were when it was put there. Code that another
user could have put there, that another user owns, or that has changed is never used.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import stat
from pathlib import Path

import platformdirs

from tinyrobust.artefact import sha256, write_json
from tinyrobust.errors import BuildError, TinyRobustError
from tinyrobust.writing import discard, fault_point, make_scratch

HASHES = "sha256.json"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MOST_BYTES = 1 << 20  # of the file of hashes


def folder(kind: str) -> Path:
    """The private folder for ``kind`` of code; made if need be. What lies there is thrown away
    when others could write to it.

    Raises BuildError where it belongs to another user, TinyRobustError where it cannot be made.
    """
    top = platformdirs.user_cache_path("tinyrobust")
    made = top / kind
    try:
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _mode(top) & _OTHERS_WRITE:
            top.chmod(_mode(top) & ~_OTHERS_WRITE)
        mode = _mode(made)
        if mode & _OTHERS_WRITE:
            made.chmod(0o700)
            for entry in made.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)
        elif mode != 0o700:
            made.chmod(0o700)
    except OSError as error:
        raise TinyRobustError(
            f"cannot write the cache of compiled code {made}: {error.strerror}",
            "set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    return made


def _mode(path: Path) -> int:
    """Permissions of a folder that is ours. Raises BuildError when it is another user's."""
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise BuildError(
            f"the cache of compiled code {path} belongs to user {found.st_uid}, this is user "
            f"{os.geteuid()}",
            "set XDG_CACHE_HOME to a folder of your own",
        )
    return stat.S_IMODE(found.st_mode)


def seal(work: Path, *names: str) -> None:
    """Write the hashes of the files ``names`` of ``work``."""
    write_json(work / HASHES, {name: sha256((work / name).read_bytes()) for name in names})


def put(work: Path, entry: Path) -> None:
    """Put the sealed folder ``work``, a scratch folder beside it, in the place of ``entry``. One
    that another run has put there meanwhile stays. Raises OSError."""
    fault_point()
    for _ in range(3):
        try:
            work.rename(entry)
            return
        except OSError:
            if not entry.is_dir():
                raise
            if intact(entry) is not None:
                return
            remove(entry)
    raise BuildError(f"cannot replace {entry}", f"rm -r {shlex.quote(str(entry))}")


def intact(entry: Path) -> dict[str, bytes] | None:
    """The files of ``entry`` by name; None unless all are there, ours, and as they were put."""
    try:
        found = os.lstat(entry)
        if not stat.S_ISDIR(found.st_mode) or not _is_ours(found):
            return None
        hashes = json.loads(_read(entry / HASHES, _MOST_BYTES))
        if not isinstance(hashes, dict) or not hashes:
            return None
        made = {}
        for name, wanted in hashes.items():
            content = _read(entry / name)
            if sha256(content) != wanted:
                return None
            made[name] = content
    except (OSError, ValueError, RecursionError, BuildError):
        return None
    return made


def remove(entry: Path) -> None:
    """Take ``entry`` away, at once under its name."""
    with contextlib.suppress(OSError):
        away = make_scratch("old", entry.parent)
        try:
            entry.rename(away / entry.name)
        finally:
            discard(away)


def trusted(path: Path, digest: str | None = None) -> bytes:
    """The content of a library about to be loaded, which must be the user's own (or root's),
    writable by no other, and of SHA-256 ``digest``.

    Raises BuildError, OSError.
    """
    content = _read(path, owners=(os.geteuid(), 0))
    if digest is not None and sha256(content) != digest:
        raise BuildError(
            f"{path} is not what was built: its SHA-256 is {sha256(content)[:12]}, not "
            f"{digest[:12]}",
            "build it again",
        )
    return content


def _is_ours(found: os.stat_result, owners: tuple[int, ...] | None = None) -> bool:
    mine = found.st_uid in (owners or (os.geteuid(),))
    return mine and not stat.S_IMODE(found.st_mode) & stat.S_IWOTH


def _read(path: Path, most: int | None = None, owners: tuple[int, ...] | None = None) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or not _is_ours(found, owners):
            raise BuildError(
                f"{path} is not loaded: it is user {found.st_uid}'s, mode "
                f"{stat.S_IMODE(found.st_mode):o}",
                "build it again, as the user who runs it",
            )
        content = file.read() if most is None else file.read(most + 1)
    if most is not None and len(content) > most:
        raise ValueError(f"{path} is too large")
    return content
