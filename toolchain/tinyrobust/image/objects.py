"""Sources to objects, two at a time, each compiled once per content.

In: sources and a compiler. Out: objects with the stack usage and call graph that GCC wrote. The
cache (``codecache.py``) is keyed by the content of the source and of every firmware
header, the flags and the compiler's version; paths do not matter and are mapped out of the object.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tinyrobust import codecache, resources
from tinyrobust.errors import BuildError, TinyRobustError
from tinyrobust.image.compilers import Compiler
from tinyrobust.writing import discard, make_scratch

JOBS = 2
KEEP_ENTRIES = 2000
LAYOUT = "3"  # changes when the same source and flags give another object, as by other path maps


@dataclass(frozen=True)
class Source:
    """A file to compile: where it is, what it is called in objects and messages, its own flags."""

    path: Path
    name: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Object:
    """A compiled source; ``calls`` is GCC's call graph (VCG text), empty for assembly."""

    source: Source
    path: Path
    calls: str


def cache_folder() -> Path:
    """Where objects are kept between builds."""
    return codecache.folder("objects")


def compile_all(
    sources: list[Source], compiler: Compiler, include: list[Path], folder: Path
) -> list[Object]:
    """Objects of ``sources`` in ``folder``, in order.

    Raises BuildError with the compiler's last lines when a source does not compile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    headers = _headers_digest(include)
    kept = cache_folder()
    with ThreadPoolExecutor(JOBS) as pool:
        jobs = [pool.submit(_compile, s, compiler, include, headers, kept, folder) for s in sources]
        try:
            objects = [job.result() for job in jobs]
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
    _prune(kept)
    return objects


def _headers_digest(include: list[Path]) -> bytes:
    """Every header that can be included, and the order in which folders are searched: ports may
    have headers of the same name."""
    digest = hashlib.sha256()
    firmware = resources.root() / "firmware"
    for folder in include:
        if folder.is_relative_to(firmware):
            digest.update(folder.relative_to(firmware).as_posix().encode() + b"\0")
    roots = {firmware, *include}
    for path in sorted({p for r in roots for p in r.rglob("*.h*")}):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


def _compile(
    source: Source, compiler: Compiler, include: list[Path], headers: bytes, cache: Path,
    folder: Path,
) -> Object:  # fmt: skip
    flags = [*compiler.flags, *source.flags]

    def key(headers: bytes) -> str:
        names = [LAYOUT, compiler.program, compiler.version, source.name, *flags]
        content = "\0".join(names).encode() + headers + source.path.read_bytes()
        return hashlib.sha256(content).hexdigest()

    name = key(headers)
    entry = cache / name[:2] / name

    def check_unchanged() -> None:  # else an object of other content would be kept under this name
        if key(_headers_digest(include)) != name:
            raise BuildError(f"{source.name} changed while it was compiled", "build again")

    for attempt in range(3):  # damaged, or pruned by another build meanwhile: compiled anew
        kept = codecache.intact(entry)
        if kept is not None:
            break
        if attempt or entry.exists():
            codecache.remove(entry)
        _compile_into(entry, source, compiler, flags, include, check_unchanged)
    else:
        raise BuildError(
            f"the object cache entry {entry} is damaged", f"rm -r {shlex.quote(str(entry))}"
        )
    stem = source.name.replace("/", "_")
    target = folder / f"{stem}.o"
    calls = kept.get("object.ci", b"").decode()
    with contextlib.suppress(FileNotFoundError):  # another build may have pruned it by now
        os.utime(entry)
    target.write_bytes(kept["object.o"])
    return Object(source, target, calls)


def _compile_into(
    entry: Path,
    source: Source,
    compiler: Compiler,
    flags: list[str],
    include: list[Path],
    check_unchanged: Callable[[], None],
) -> None:
    """Compile in a temporary folder beside ``entry``, check, and rename it there."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        work = make_scratch("new", entry.parent)
    except OSError as error:
        raise TinyRobustError(
            f"cannot write the object cache {entry.parent}: {error.strerror}",
            "set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    try:
        # The last that fits counts. A generated source may lie under the root too, in build/.
        maps = {resources.root(): ".", source.path.parent: Path(source.name).parent, work: "."}
        arguments = [
            *flags,
            *(f"-ffile-prefix-map={old}={new}" for old, new in maps.items()),
            *(f"-I{path}" for path in include),
            *("-c", str(source.path), "-o", "object.o"),
        ]
        compiler.run(arguments, work, source.name)
        check_unchanged()
        names = ("object.o", "object.ci")
        codecache.seal(work, *(name for name in names if (work / name).is_file()))
        codecache.put(work, entry)
    except OSError as error:
        raise TinyRobustError(
            f"cannot write {entry}: {error.strerror}",
            "free some disk space, or set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    finally:
        discard(work)


def _prune(cache: Path) -> None:
    """Forget the entries that were not used for longest, beyond KEEP_ENTRIES."""
    entries = list(cache.glob("??/*"))
    if len(entries) > KEEP_ENTRIES:
        entries.sort(key=_used)
        for old in entries[: len(entries) - KEEP_ENTRIES]:
            shutil.rmtree(old, ignore_errors=True)


def _used(entry: Path) -> float:
    """When ``entry`` was last used; now, when another build has just moved or removed it."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return time.time()
