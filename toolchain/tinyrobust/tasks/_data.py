"""Where data sets lie, and how an official archive gets there.

Comes in: an ``Archive`` (address, checksum, size). Goes out: a folder holding its files.
The download resumes where it was cut off, and nothing is unpacked before its checksum is right.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import platformdirs

from tinyrobust import units
from tinyrobust.errors import TaskError
from tinyrobust.writing import discard, make_scratch

ENVIRONMENT = "TINYROBUST_DATA"
TIMEOUT_S = 20.0
_CHUNK_BYTES = 1 << 18

Progress = Callable[[int, int], None]
_listeners: list[Progress] = []


@dataclass(frozen=True)
class Archive:
    """A .tar.gz of a public data set."""

    url: str
    sha256: str
    n_bytes: int

    @property
    def file_name(self) -> str:
        """Its file name, as the publisher calls it."""
        return self.url.rsplit("/", 1)[1]


def cache_folder() -> Path:
    """The user's cache folder for data (XDG_CACHE_HOME/tinyrobust/data on Linux)."""
    return Path(platformdirs.user_cache_dir("tinyrobust")) / "data"


def folders() -> list[Path]:
    """Where data is looked for: $TINYROBUST_DATA if set, then the cache folder."""
    named = os.environ.get(ENVIRONMENT)
    return [*([Path(named).expanduser()] if named else []), cache_folder()]


@contextmanager
def download_progress(callback: Progress) -> Iterator[None]:
    """Within this block, downloads call ``callback(bytes so far, bytes in all)``."""
    _listeners.append(callback)
    try:
        yield
    finally:
        _listeners.remove(callback)


def fetch(archive: Archive, task: str, members: Sequence[str]) -> Path:
    """Download and unpack ``archive``; the folder that then holds all ``members``.

    Raises TaskError: offline, cut off, wrong checksum, disk full. What was downloaded stays as
    ``<name>.part``, and the next call goes on from there.
    """
    target = folders()[0]
    part = target / f"{archive.file_name}.part"
    advice = (
        f"run again to resume, or put the files of {archive.url} under {target} "
        f"(as {Path(members[0]).parent}/...), or point {ENVIRONMENT} at them"
    )
    try:
        target.mkdir(parents=True, exist_ok=True)
        _download(archive, part, task, advice)
        _verify(archive, part, task)
        _unpack(part, target, members, task)
    except OSError as error:
        raise TaskError(f"{task}: cannot write under {target}: {error.strerror}", advice) from error
    part.unlink()
    return target


def _download(archive: Archive, part: Path, task: str, advice: str) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have > archive.n_bytes:
        part.unlink()
        have = 0
    if have == archive.n_bytes:
        return
    request = urllib.request.Request(archive.url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            resumes = answer.status == 206
            with part.open("ab" if resumes else "wb") as file:
                _copy(answer, file, have if resumes else 0, archive.n_bytes)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise TaskError(f"{task}: cannot download {archive.url}: {reason}", advice) from error
    got = part.stat().st_size
    if got != archive.n_bytes:
        raise TaskError(
            f"{task}: the download of {archive.file_name} stopped at "
            f"{units.kib(got)} of {units.kib(archive.n_bytes)}",
            advice,
        )


def _copy(answer: object, file: object, have: int, total: int) -> None:
    read, write = answer.read, file.write  # type: ignore[attr-defined]
    while chunk := read(_CHUNK_BYTES):
        write(chunk)
        have += len(chunk)
        for callback in _listeners:
            callback(have, total)


def _verify(archive: Archive, part: Path, task: str) -> None:
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != archive.sha256:
        part.unlink()
        raise TaskError(
            f"{task}: {archive.file_name} has SHA-256 {digest.hexdigest()[:16]}..., "
            f"expected {archive.sha256[:16]}...",
            "the broken download was removed; run again",
        )


def _unpack(part: Path, target: Path, members: Sequence[str], task: str) -> None:
    """Unpack exactly ``members``, each renamed into place when it is whole."""
    scratch = make_scratch("unpack", target)
    try:
        with tarfile.open(part, "r:gz") as tar:
            for name in members:
                source = tar.extractfile(name)
                if source is None:
                    raise KeyError(name)
                whole = scratch / Path(name).name
                with source, whole.open("wb") as file:
                    shutil.copyfileobj(source, file)
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                whole.replace(target / name)
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise TaskError(
            f"{task}: {part.name} is not the expected archive: {error}",
            "download it again, from the address that tinyrobust tasks shows",
        ) from error
    finally:
        discard(scratch)
