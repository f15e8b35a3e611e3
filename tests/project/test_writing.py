"""The one writer: whole files, special files left alone, folders never away, leftovers removed."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.killed import killed_at
from tinyrobust import writing
from tinyrobust.errors import TinyRobustError

OLD, NEW = b"old" * 1000, b"new" * 2000


@pytest.fixture(autouse=True)
def _sweep_anew() -> None:
    writing._swept.clear()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_file_has_the_umasks_mode_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    before = os.umask(0o027)
    try:
        writing.write_bytes(path, OLD)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o751)
    writing.write_bytes(path, NEW)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (NEW, 0o751)
    assert names(path.parent) == ["file"]


def test_fifo_gets_the_bytes_and_stays_a_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    writing.write_bytes(fifo, NEW)
    reader.join(20)
    assert got == [NEW]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_device_is_written_to(tmp_path: Path) -> None:
    null = Path(os.devnull)
    writing.write_bytes(null, NEW)
    assert stat.S_ISCHR(null.stat().st_mode)
    link = tmp_path / "link"
    link.symlink_to(null)
    writing.write_bytes(link, NEW)
    assert link.is_symlink() and stat.S_ISCHR(link.stat().st_mode)


def test_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    there, link = tmp_path / "d" / "there", tmp_path / "link"
    link.symlink_to("d/there")
    writing.write_bytes(link, OLD)  # a target that is not there yet is made
    writing.write_bytes(link, NEW)
    assert link.is_symlink() and there.read_bytes() == NEW and names(there.parent) == ["there"]
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(TinyRobustError, match=r"cannot write .*loop: Too many levels"):
        writing.write_bytes(loop, NEW)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/stderr"])
@pytest.mark.parametrize("into", ["pipe", "file"])
def test_standard_output_by_name(name: str, into: str, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tinyrobust import writing\n"
        "print('first'); print('first', file=sys.stderr)\n"
        f"writing.write_bytes(Path({name!r}), b'second\\n')\n"
    )
    file = tmp_path / "out"
    stream = "stderr" if "err" in name else "stdout"
    if into == "pipe":
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        text = getattr(done, stream)
    else:
        with file.open("wb") as out:
            subprocess.run([sys.executable, "-c", code], check=True, **{stream: out})
        text = file.read_bytes()
    assert text == b"first\nsecond\n"


def test_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(TinyRobustError, match=r"cannot write .*d: Is a directory"):
        writing.write_bytes(tmp_path / "d", NEW)
    assert names(tmp_path) == ["d"]


def test_longest_names(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 127)
    writing.write_bytes(path, NEW)
    assert path.read_bytes() == NEW


def every_kill(work: Callable[[], object], check: Callable[[], object]) -> int:
    """Kill ``work`` at each of its fault points in turn; the number of kills."""
    point = 1
    while killed_at(point, work):
        check()
        point += 1
    return point - 1


def test_file_is_old_or_new_at_every_kill_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def check() -> None:
        assert path.read_bytes() in (OLD, NEW)
        path.write_bytes(OLD)
        writing._swept.clear()
        writing.write_bytes(tmp_path / "other", b"")
        assert names(tmp_path) == ["file", "other"]

    assert every_kill(lambda: writing.write_bytes(path, NEW), check) == 4
    assert path.read_bytes() == NEW


def test_appending_leaves_old_or_a_beginning_or_new(tmp_path: Path) -> None:
    path = tmp_path / "log"

    def check() -> None:
        data = path.read_bytes()
        assert data.startswith(OLD) and (OLD + NEW).startswith(data)
        path.write_bytes(OLD)

    path.write_bytes(OLD)
    assert every_kill(lambda: writing.append(path, NEW), check) == 3
    assert path.read_bytes() == OLD + NEW


def put(out: Path) -> None:
    with writing.replacing(out) as work:
        writing.write_bytes(work / "sub" / "new", NEW)


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_folder_is_old_or_new_at_every_kill(
    exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:

        def cannot(one: Path, other: Path) -> None:
            raise OSError(errno.EINVAL, "")

        monkeypatch.setattr(writing, "_exchange_names", cannot)
    out = tmp_path / "out"

    def fill() -> None:
        out.mkdir(exist_ok=True)
        (out / "old").write_bytes(OLD)

    def check() -> None:
        if exchange:  # at once; else the next run in this folder puts it back
            assert names(out) in (["old"], ["sub"])
        writing.sweep(tmp_path)
        assert names(tmp_path) == ["out"]
        assert names(out) in (["old"], ["sub"])
        subprocess.run(["rm", "-r", out], check=True)
        writing._swept.clear()
        fill()

    fill()
    assert every_kill(lambda: put(out), check) >= 5
    assert names(out) == ["sub"] and (out / "sub" / "new").read_bytes() == NEW
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_ctrl_c_at_any_rename_loses_nothing(
    exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, renames = Path.rename, 0

    def interrupted(self: Path, to: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames == 2:
            raise KeyboardInterrupt
        return real(self, to)

    def cannot(one: Path, other: Path) -> None:
        raise OSError(errno.ENOSYS, "")

    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_bytes(OLD)
    monkeypatch.setattr(Path, "rename", interrupted)
    if exchange:
        put(out)
        assert (renames, names(out)) == (0, ["sub"])
    else:
        monkeypatch.setattr(writing, "_exchange_names", cannot)
        with pytest.raises(KeyboardInterrupt):
            put(out)
        assert names(out) == ["old"]
    assert names(tmp_path) == ["out"]


def test_folder_keeps_its_mode_and_a_link_to_it_stays(tmp_path: Path) -> None:
    out, link = tmp_path / "out", tmp_path / "link"
    out.mkdir(mode=0o750)
    link.symlink_to(out)
    put(link)
    assert link.is_symlink() and names(out) == ["sub"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o750


def test_only_what_nobody_has_locked_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # a run that lives
        with writing.scratch("living"):
            os.write(ready[1], b".")
            os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)

    def leave() -> None:
        writing.make_scratch("killed").joinpath("file").write_bytes(NEW)

    assert not killed_at(1000, leave)  # ends without cleaning up
    foreign = tmp_path / "tinyrobust-notes"
    foreign.mkdir()
    assert len(names(tmp_path)) == 3
    with writing.scratch("next") as mine:
        left = [name.split("+")[1] for name in names(tmp_path) if "+" in name]
        assert left == ["living", "next"]
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    os.write(done[1], b".")
    os.waitpid(child, 0)
    assert names(tmp_path) == ["tinyrobust-notes"]
