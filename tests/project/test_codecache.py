"""Kept code: used only when it is ours, private, and what was put there."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import tiny_graph
from tinyrobust import codecache
from tinyrobust.errors import BuildError
from tinyrobust.graph import interpreter
from tinyrobust.image import HostModel, compilers, host_library, objects
from tinyrobust.writing import make_scratch

OTHER_USER = 4242


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return codecache.folder("test")


def keep(cache: Path, content: bytes = b"code") -> Path:
    work = make_scratch("new", cache)
    (work / "a.so").write_bytes(content)
    codecache.seal(work, "a.so")
    codecache.put(work, cache / "entry")
    return cache / "entry"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_private_and_what_others_could_write_is_thrown_away(cache: Path) -> None:
    assert mode(cache) == 0o700
    entry = keep(cache)
    cache.chmod(0o755)  # as older versions made it: nobody else could write
    assert codecache.folder("test") == cache and mode(cache) == 0o700 and entry.is_dir()
    cache.chmod(0o770)
    cache.parent.chmod(0o777)
    codecache.folder("test")
    assert (mode(cache), mode(cache.parent)) == (0o700, 0o755) and not entry.exists()


def test_another_users_folder_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(BuildError, match=f"belongs to user {mine}, this is user {mine + 1}"):
        codecache.folder("test")
    with pytest.raises(BuildError, match="is not loaded"):
        codecache.trusted(_file(cache.parent))


def _file(folder: Path) -> Path:
    (folder / "lib.so").write_bytes(b"code")
    if (folder / "lib.so").stat().st_uid == 0:  # root's is trusted: make it somebody's
        os.chown(folder / "lib.so", OTHER_USER, OTHER_USER)
    return folder / "lib.so"


def test_an_entry_is_used_whole_or_not_at_all(cache: Path) -> None:
    entry = keep(cache)
    assert codecache.intact(entry) == {"a.so": b"code"}
    (entry / "a.so").write_bytes(b"evil")
    assert codecache.intact(entry) is None
    assert codecache.intact(keep(cache, b"new")) == {"a.so": b"new"}  # replaces a damaged one
    (entry / "a.so").chmod(0o666)
    assert codecache.intact(entry) is None
    codecache.remove(entry)
    assert [p.name for p in cache.iterdir()] == []
    entry = keep(cache)
    (entry / "a.so").rename(entry / "b.so")
    (entry / "a.so").symlink_to("b.so")
    assert codecache.intact(entry) is None
    for text in ("", "{}", "[1]", "[" * 100_000, '{"a.so": 1}', '{"../x": "0"}'):
        (entry / codecache.HASHES).write_text(text)
        assert codecache.intact(entry) is None


def test_an_intact_entry_of_another_run_stays(cache: Path) -> None:
    keep(cache, b"first")
    assert codecache.intact(keep(cache, b"second")) == {"a.so": b"first"}


def test_a_changed_object_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a.cpp").write_text("int one();\nint one() { return 1; }\n")
    compiler = compilers.host(shared=True)
    source = objects.Source(tmp_path / "a.cpp", "a.cpp")
    (first,) = objects.compile_all([source], compiler, [], tmp_path / "out")
    good = first.path.read_bytes()
    (kept,) = (tmp_path / "cache").rglob("object.o")
    assert mode(tmp_path / "cache" / "tinyrobust" / "objects") == 0o700
    kept.write_bytes(good[:-8] + b"evilcode")
    (second,) = objects.compile_all([source], compiler, [], tmp_path / "out")
    assert second.path.read_bytes() == good == kept.read_bytes()


def test_a_host_library_that_has_changed_is_not_loaded(tmp_path: Path) -> None:
    graph = tiny_graph()
    library = host_library(graph, tmp_path)
    images = np.zeros((2, *graph.input.shape), np.uint8)
    assert np.array_equal(HostModel(library).predict(images), interpreter.run(graph, images))
    content = library.read_bytes()
    library.write_bytes(content + b"\0")
    with pytest.raises(BuildError, match="is not what was built"):
        HostModel(library)
    library.write_bytes(content)
    library.chmod(0o777)
    with pytest.raises(BuildError, match=r"is not loaded: .* mode 777"):
        HostModel(library)
    library.chmod(0o755)
    description = library.with_name(f"{library.name}.json")
    meta = json.loads(description.read_text())
    del meta["library_sha256"]
    description.write_text(json.dumps(meta))
    with pytest.raises(BuildError, match="cannot load"):
        HostModel(library)
