"""SVHN's official files: read as SciPy reads them, and refused when they are broken."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyrobust import tasks
from tinyrobust.errors import TaskError
from tinyrobust.tasks import _mat

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (32, 32, 3, 7), dtype=np.uint8)
LABELS = np.array([[1], [10], [3], [9], [10], [2], [5]], np.uint8)
CLASSES = {np.dtype(np.uint8): (9, 2), np.dtype(np.float64): (6, 9)}


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def matrix(name: str, array: np.ndarray, *, small_name: bool = True) -> bytes:
    """An array as MATLAB 5 writes it, its name in the short form."""
    array_class, kind = CLASSES[array.dtype]
    text = name.encode()
    short = struct.pack("<HH", 1, len(text)) + text.ljust(4, b"\0")
    body = element(6, struct.pack("<II", array_class, 0))
    body += element(5, np.array(array.shape, "<i4").tobytes())
    body += short if small_name else element(1, text)
    return element(14, body + element(kind, array.tobytes(order="F")))


def mat(*matrices: bytes, compress: bool = True) -> bytes:
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    if not compress:
        return header + b"".join(matrices)
    packed = [zlib.compress(m) for m in matrices]
    return header + b"".join(struct.pack("<II", 15, len(p)) + p for p in packed)


GOOD = mat(matrix("X", IMAGES), matrix("y", LABELS))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TINYROBUST_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("inside", ["", "svhn"])
def test_official_files_are_read(folder: Path, compress: bool, inside: str) -> None:
    (folder / inside).mkdir(exist_ok=True)
    labels = LABELS.astype(np.float64)  # some copies hold y as doubles
    data = mat(matrix("X", IMAGES, small_name=False), matrix("y", labels), compress=compress)
    for split in ("train", "test"):
        (folder / inside / f"{split}_32x32.mat").write_bytes(data)
    task = tasks.get("svhn")
    images, digits = task.load("test")
    assert np.array_equal(images, IMAGES.transpose(3, 0, 1, 2))
    assert digits.tolist() == [1, 0, 3, 9, 0, 2, 5] and digits.dtype == np.int64
    assert task.where() == str(folder / inside)
    assert len(task.load("train", 3)[0]) == 3
    with pytest.raises(TaskError, match="7 train images, not 8"):
        task.load("train", 8)


@pytest.mark.attacks  # SciPy comes with ART
def test_scipy_writes_what_we_read(folder: Path) -> None:
    from scipy.io import savemat

    savemat(folder / "test_32x32.mat", {"X": IMAGES, "y": LABELS}, do_compression=True)
    images, _ = tasks.get("svhn").load("test")
    assert np.array_equal(images, IMAGES.transpose(3, 0, 1, 2))


def test_a_missing_file_says_where_to_put_it(folder: Path) -> None:
    assert tasks.get("svhn").where() is None
    with pytest.raises(TaskError, match=r"train_32x32.mat is nowhere") as caught:
        tasks.get("svhn").load("train")
    assert "housenumbers/train_32x32.mat" in caught.value.hint


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a little-endian MATLAB 5 file"),
        (GOOD[:-100], "cut off"),
        (GOOD[:300] + bytes(50) + GOOD[350:], "damaged"),
        (mat(matrix("X", IMAGES)), "does not hold"),
        (mat(matrix("X", IMAGES), matrix("y", LABELS[:3])), "does not hold"),
        (mat(matrix("X", IMAGES), matrix("y", LABELS + 1)), "label outside"),
        (mat(matrix("X", IMAGES)[:-8], compress=False), "cut off"),
    ],
)
def test_broken_files_are_one_line(folder: Path, data: bytes, message: str) -> None:
    (folder / "test_32x32.mat").write_bytes(data)
    with pytest.raises(TaskError, match=message):
        tasks.get("svhn").load("test")


@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_bytes_do_more_than_a_value_error(junk: bytes, at: int) -> None:
    plain = mat(matrix("y", LABELS), compress=False)
    for data in (plain[:128] + junk, plain[:at] + junk + plain[at + len(junk) :]):
        try:
            _mat.read(data)
        except ValueError:
            continue
