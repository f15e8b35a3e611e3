"""The one writer: every file and folder that the tool leaves is whole, old or new.

In: a path and its content. Out: the file, or one typed error and the file as it was.

* A regular file is replaced whole: a temporary file beside it, fsync, rename; its mode is kept.
* Anything else (FIFO, device, /dev/stdout, the target of a symbolic link) is written to, as every
  Unix tool does, and never replaced.
* A folder is replaced by exchanging two names (renameat2(2) RENAME_EXCHANGE, renamex_np(2)
  RENAME_SWAP). Where the file system cannot, the old one is set aside for an instant under a name
  by which the next run finds it and puts it back.
* Temporary files and folders are locked (flock(2)) by the process they belong to for as long as
  it lives. ``sweep`` removes those whose lock is free: a killed run left them.

Each step that a kill could fall between is a *fault point*: with ``TINYROBUST_DIE_AT_WRITE=N`` in
its environment a process kills itself with SIGKILL at its Nth one. Tests use that.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import re
import secrets
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tinyrobust.errors import TinyRobustError

DIE_AT = "TINYROBUST_DIE_AT_WRITE"
_MARK = ".tinyrobust-"  # in the name of everything temporary, before its random end
_ASIDE = ".aside"  # ends the name of a folder that is about to be replaced
_RANDOM = re.compile(r"^\.(?P<name>.*)\.tinyrobust-[0-9a-f]{12}(?P<aside>\.aside)?$", re.DOTALL)
_SYSTEM = "tinyrobust+"  # begins the name of our folders in the system's temporary folder
_NAME_BYTES = 180  # of a file's own name within a temporary one: names have 255 bytes at most
_AT_FDCWD, _RENAME_EXCHANGE, _RENAME_SWAP = -100, 2, 2
_CANNOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
_SWEEPS, _SWEEP_S = 5, 0.2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"^/(?:dev|proc/self)/fd/(\d{1,6})$")

_points = 0
_swept: set[str] = set()
_own: dict[str, int] = {}  # temporary folders of this process: their locks


def _forget() -> None:
    """In a child process: its fault points are its own, and what it sweeps."""
    global _points
    _points = 0
    _swept.clear()


os.register_at_fork(after_in_child=_forget)


def fault_point() -> None:
    """A moment at which a kill is tried by tests; see the module's docstring."""
    global _points
    _points += 1
    wanted = os.environ.get(DIE_AT)
    if wanted and wanted == str(_points):
        os.kill(os.getpid(), signal.SIGKILL)


def fault_points() -> int:
    """How many this process has passed."""
    return _points


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the regular file ``path`` by ``data``, or write into whatever else is there.

    Raises TinyRobustError; a regular file is then as it was, and nothing is left behind.
    """
    descriptor = _descriptor(path)
    try:
        if descriptor is not None:
            _into_descriptor(descriptor, data)
            return
        target = _target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if _is_special(target):
            _into(target, data)
        else:
            _replace(target, data)
    except OSError as error:
        raise _failed(path, error) from error


def append(path: Path, data: bytes) -> None:
    """Add ``data`` at the end of the file ``path`` and force it to the disk.

    Raises TinyRobustError; the file is then as long as it was.
    """
    try:
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                fault_point()
                _all(file.fileno(), data[: len(data) // 2])
                fault_point()
                _all(file.fileno(), data[len(data) // 2 :])
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    os.fsync(file.fileno())
            except BaseException:
                with contextlib.suppress(OSError):  # a pipe has no end to cut off
                    os.truncate(path, size)
                raise
    except OSError as error:
        raise _failed(path, error) from error
    fault_point()


def folder_beside(out: Path) -> Path:
    """A new, empty folder beside ``out``, locked by this process; for ``put_folder``.

    Absolute, symbolic links resolved. Raises TinyRobustError.
    """
    try:
        out = _target(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        sweep(out.parent)
        made = _locked_folder(out.parent, _temporary_name(out.name), 0o777)  # the umask's
        with contextlib.suppress(FileNotFoundError):
            made.chmod(stat.S_IMODE(out.stat().st_mode) | stat.S_IRWXU)
        return made
    except OSError as error:
        raise _failed(out, error) from error


def put_folder(work: Path, out: Path) -> None:
    """Put ``work`` (of ``folder_beside``) in the place of ``out``; ``out`` is whole at any moment.

    Raises OSError; ``out`` is then as it was.
    """
    out = _target(out)
    _sync_tree(work)
    fault_point()
    try:
        for attempt in range(10):
            try:
                if not _present(out):
                    work.rename(out)
                else:
                    _exchange(work, out)
                break
            except OSError as error:  # another run made or removed it meanwhile
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or attempt == 9:
                    raise
        fault_point()
        _sync_folder(out.parent)
    finally:
        discard(work)


def discard(work: Path) -> None:
    """Remove a temporary folder, whatever it now holds, and let go of its lock."""
    shutil.rmtree(work, ignore_errors=True)
    handle = _own.pop(str(work), None)
    if handle is not None:
        os.close(handle)


@contextlib.contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place when the block ends well, else is removed.

    Raises TinyRobustError where that folder, or something in it, cannot be written.
    """
    work = folder_beside(out)
    try:
        yield work
        put_folder(work, out)
    except OSError as error:
        raise _failed(out, error) from error
    finally:
        discard(work)


@contextlib.contextmanager
def scratch(what: str, beside: Path | None = None) -> Iterator[Path]:
    """A private folder (mode 0700) for the time of the block, in the system's temporary folder
    or in ``beside``; resolved. ``what`` is part of its name. Raises TinyRobustError."""
    made = make_scratch(what, beside)
    try:
        yield made
    finally:
        discard(made)


def make_scratch(what: str, beside: Path | None = None) -> Path:
    """``scratch`` without an end: ``discard`` it."""
    try:
        if beside is None:
            parent = Path(tempfile.gettempdir()).resolve()
            _sweep_system(parent)
            return _locked_folder(parent, f"{_SYSTEM}{what}+{secrets.token_hex(6)}")
        beside.mkdir(parents=True, exist_ok=True)
        beside = beside.resolve()
        sweep(beside)
        return _locked_folder(beside, _temporary_name(what))
    except OSError as error:
        raise _failed(beside or Path(tempfile.gettempdir()), error) from error


def sweep(folder: Path) -> None:
    """Remove what killed runs left in ``folder``; put back what one had set aside. Once a run."""
    key = str(folder)
    if key in _swept:
        return
    _swept.add(key)
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _RANDOM.match(entry.name)
            if found:
                _sweep_one(Path(entry.path), found["name"] if found["aside"] else None)


def _sweep_system(folder: Path) -> None:
    """``sweep`` for the folder that all users share: only what is ours."""
    key = str(folder)
    if key in _swept:
        return
    _swept.add(key)
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            ours = entry.name.startswith(_SYSTEM) and entry.is_dir(follow_symlinks=False)
            if ours and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                _sweep_one(Path(entry.path), None)


def _sweep_one(path: Path, aside_of: str | None) -> None:
    """Remove ``path``, or put it back as ``aside_of``, unless a living process has its lock."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        if not _lock(handle) or not _same(handle, path):
            return
        if aside_of is not None and not _present(path.with_name(aside_of)):
            path.rename(path.with_name(aside_of))
        elif stat.S_ISDIR(os.fstat(handle).st_mode):
            for _ in range(_SWEEPS):  # a compiler that outlived its run may still write there
                shutil.rmtree(path, ignore_errors=True)
                if not path.exists():
                    break
                time.sleep(_SWEEP_S)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return
    finally:
        os.close(handle)


def _replace(target: Path, data: bytes) -> None:
    try:
        before = target.stat()
    except FileNotFoundError:
        before = None
    if before is not None and stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    inside = any(str(parent) in _own for parent in target.parents)
    if not inside:
        sweep(target.parent)
    fault_point()
    new, handle = _locked_file(target)
    try:
        try:
            _all(handle, data[: len(data) // 2])
            fault_point()
            _all(handle, data[len(data) // 2 :])
            if before is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(handle, before.st_uid, before.st_gid)
                os.fchmod(handle, stat.S_IMODE(before.st_mode))
            if not inside:  # a folder's files are forced to the disk together, by put_folder
                os.fsync(handle)
            fault_point()
            new.replace(target)
        finally:
            os.close(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    fault_point()
    if not inside:
        _sync_folder(target.parent)


def _into(target: Path, data: bytes) -> None:
    """Write to what is no regular file. Opening a FIFO waits for its reader, as with any tool."""
    handle = os.open(target, os.O_WRONLY | os.O_NOCTTY)
    try:
        _all(handle, data)
    finally:
        os.close(handle)


def _into_descriptor(descriptor: int, data: bytes) -> None:
    """Write where the process's own descriptor is; opening its name anew would start at 0."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            if stream.fileno() == descriptor:
                stream.flush()
    _all(descriptor, data)


def _all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _descriptor(path: Path) -> int | None:
    """The open descriptor that ``path`` names, as /dev/stdout does; None: it names none."""
    text = os.path.normpath(path)
    found = _DESCRIPTOR.match(text)
    return int(found[1]) if found else _STANDARD.get(text)


def _target(path: Path) -> Path:
    """Absolute, with symbolic links followed, also one that points at nothing yet."""
    return Path(os.path.realpath(path))


def _is_special(target: Path) -> bool:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _present(path: Path) -> bool:
    return os.path.lexists(path)


def _temporary_name(name: str) -> str:
    short = os.fsdecode(os.fsencode(name)[:_NAME_BYTES])
    return f".{short}{_MARK}{secrets.token_hex(6)}"


def _locked_file(target: Path) -> tuple[Path, int]:
    """A new file beside ``target`` and its descriptor, locked. A sweeper that came between making
    and locking has removed it: then another."""
    while True:
        new = target.with_name(_temporary_name(target.name))
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _locked_is(handle, new):
            return new, handle
        os.close(handle)


def _locked_folder(parent: Path, name: str, mode: int = 0o700) -> Path:
    while True:
        made = parent / name
        made.mkdir(mode=mode)
        try:
            handle = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if _locked_is(handle, made):
            _own[str(made)] = handle
            return made
        os.close(handle)


def _locked_is(handle: int, path: Path) -> bool:
    """Whether what we made is still there, now locked or (file systems without locks) unlockable,
    where no sweeper removes anything either."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return _same(handle, path)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _same(handle: int, path: Path) -> bool:
    ours = os.fstat(handle)
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _exchange(work: Path, out: Path) -> None:
    try:
        _exchange_names(work, out)
    except OSError as error:
        if error.errno not in _CANNOT_EXCHANGE:
            raise
        _exchange_by_two(work, out)


def _exchange_by_two(work: Path, out: Path) -> None:
    """Where names cannot be exchanged: ``out`` is away for an instant, never lost."""
    aside = out.with_name(f"{_temporary_name(out.name)}{_ASIDE}")
    if len(os.fsencode(out.name)) > _NAME_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    out.rename(aside)
    try:
        fault_point()
        work.rename(out)
    except BaseException:  # Ctrl-C too
        with contextlib.suppress(OSError):
            aside.rename(out)
        raise
    fault_point()
    shutil.rmtree(aside, ignore_errors=True)


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _exchange_names(one: Path, other: Path) -> None:
    """Exchange two names of one file system at once; OSError ENOSYS where that cannot be."""
    library = _library()
    a, b = os.fsencode(one), os.fsencode(other)
    if hasattr(library, "renameat2"):  # Linux 3.15, glibc 2.28, musl 1.2.5
        status = library.renameat2(
            _AT_FDCWD, a, _AT_FDCWD, b, ctypes.c_uint(_RENAME_EXCHANGE)
        )  # fmt: skip
    elif hasattr(library, "renamex_np"):  # macOS 10.12
        status = library.renamex_np(a, b, ctypes.c_uint(_RENAME_SWAP))
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _sync_tree(folder: Path) -> None:
    """Force all files and folders below to the disk, before a name says that they are there."""
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                handle = os.open(Path(where) / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        _sync_folder(Path(where))


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system has that
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _failed(path: Path, error: OSError) -> TinyRobustError:
    if error.errno in _FULL:
        hint = "free some disk space and run again"
    elif error.errno == errno.EPIPE:
        hint = "whatever reads it has ended; start that again"
    elif error.errno == errno.EISDIR:
        hint = "it is a folder: give a file's name"
    else:
        hint = "check the path and the permissions of its folder"
    return TinyRobustError(f"cannot write {path}: {error.strerror}", hint)
