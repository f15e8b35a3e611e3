"""What is kept of parsed YAML is what parsing gives, and is trusted only where it is our own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tinyrobust import resources, yamlcache, yamlfile
from tinyrobust.errors import BuildError
from tinyrobust.kernels.schema import KernelFile

CONTENT = b"a: 1\nb: [0x10, 2.50, 1e-3, yes, true, ~, 'x', -0.0]\nc: {d: 1_000}\n"


def _parse() -> Any:
    return yamlfile._plain(YAML(typ="rt").load(CONTENT.decode()))


def _never() -> Any:
    raise AssertionError("parsed again")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; gives the folder of the entries."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tinyrobust" / "yaml"


def test_an_entry_gives_back_the_tree(home: Path) -> None:
    made = yamlcache.tree(CONTENT, _parse)
    kept = yamlcache.tree(CONTENT, _never)
    assert repr(kept) == "{'a': 1, 'b': [16, 2.5, 0.001, 'yes', True, None, 'x', -0.0], " \
        "'c': {'d': 1000}}"  # fmt: skip
    assert kept == made
    (entry,) = home.iterdir()
    assert home.stat().st_mode & 0o777 == 0o700 and entry.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "no json", "folder"])
def test_a_damaged_entry_is_made_anew(home: Path, damage: str) -> None:
    yamlcache.tree(CONTENT, _parse)
    (entry,) = home.iterdir()
    whole = entry.read_bytes()
    entry.unlink()
    if damage == "folder":
        entry.mkdir()
    else:
        damaged = {"cut": whole[:-3], "empty": b"", "changed": whole.replace(b"16", b"17"),
                   "no json": b"[" * 9}  # fmt: skip
        entry.write_bytes(damaged[damage])
    assert yamlcache.tree(CONTENT, _parse)["b"][0] == 16
    assert damage == "folder" or entry.read_bytes() == whole


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_to_is_not_used(home: Path, mode: int) -> None:
    yamlcache.tree(CONTENT, _parse)
    home.chmod(mode)
    with pytest.raises(AssertionError, match="parsed again"):
        yamlcache.tree(CONTENT, _never)


def test_another_owners_folder_or_file_is_not_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yamlcache.tree(CONTENT, _parse)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(AssertionError, match="parsed again"):
        yamlcache.tree(CONTENT, _never)
    monkeypatch.undo()


def test_a_link_is_not_followed(home: Path, tmp_path: Path) -> None:
    yamlcache.tree(CONTENT, _parse)
    (entry,) = home.iterdir()
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert yamlcache.tree(CONTENT, lambda: {"parsed": 1}) == {"parsed": 1}
    assert not entry.is_symlink()
    (home / "x").write_text("")


def test_no_cache_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert yamlcache.tree(CONTENT, _parse)["a"] == 1


@pytest.mark.parametrize("text", ["1: a", "a: 2001-01-01", "a: &b true\nc: *b", "a: {2: 3}"])
def test_what_json_does_not_give_back_alike_is_not_kept(home: Path, text: str) -> None:
    def parse() -> Any:
        return yamlfile._plain(YAML(typ="rt").load(text))

    yamlcache.tree(text.encode(), parse)
    assert not list(home.iterdir())


def test_old_entries_go(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamlcache, "MAX_ENTRIES", 8)
    for i in range(20):
        yamlcache.tree(b"a: %d" % i, lambda: {"a": 1})
        assert len(list(home.iterdir())) <= 8


def test_every_kernel_file_is_the_same_from_the_cache() -> None:
    paths = sorted((resources.root() / "firmware" / "kernels").glob("*/kernel.yaml"))[::6]
    assert len(paths) > 5
    for path in paths:
        plain = yamlfile._plain(YAML(typ="rt").load(path.read_text()))
        first = yamlfile.load(path, KernelFile, BuildError)
        assert yamlfile.load(path, KernelFile, BuildError) == first
        assert KernelFile.model_validate(plain) == first


def test_an_error_names_its_line_from_the_cache_too(tmp_path: Path) -> None:
    path = tmp_path / "kernel.yaml"
    path.write_text("id: a_b\nop: conv2d\nsummary: x\nsorces: []\n")
    messages = set()
    for _ in range(2):
        with pytest.raises(BuildError) as failed:
            yamlfile.load(path, KernelFile, BuildError)
        messages.add(str(failed.value))
    (message,) = messages
    assert re.search(r":4: unknown key 'sorces'", message)


def test_what_is_kept_needs_no_parser() -> None:
    """Reading all kernels the second time does not even import the YAML parser."""
    code = "from tinyrobust.kernels.catalogue import catalogue; catalogue(); import sys; " \
        "print('ruamel.yaml' in sys.modules)"  # fmt: skip
    seen = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                           check=True).stdout.strip() for _ in range(2)]  # fmt: skip
    assert seen == ["True", "False"]
