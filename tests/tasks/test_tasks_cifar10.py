"""The CIFAR-10 files: both official layouts, broken files, and the download."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tinyrobust import tasks
from tinyrobust.errors import TaskError
from tinyrobust.tasks import _cifar_files, _data

ROWS = 12  # batches of the tests' own CIFAR-10


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, small batches, and a cache folder of the test's own."""
    monkeypatch.setenv("TINYROBUST_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(_cifar_files, "ROWS", ROWS)
    monkeypatch.setattr(_cifar_files, "BATCH_BYTES", ROWS * 3073)
    return tmp_path / "data"


def rows(batch: int) -> np.ndarray:
    random = np.random.default_rng(batch)
    pixels = random.integers(0, 256, (ROWS, 3072), dtype=np.uint8)
    labels = random.integers(0, 10, (ROWS, 1), dtype=np.uint8)
    return np.concatenate([labels, pixels], axis=1)


def binary_batches() -> dict[str, bytes]:
    names = [*_cifar_files.BINARY["train"], *_cifar_files.BINARY["test"]]
    return {name: rows(batch).tobytes() for batch, name in enumerate(names)}


def python_batches() -> dict[str, bytes]:
    names = [*_cifar_files.PYTHON["train"], *_cifar_files.PYTHON["test"]]
    found = {}
    for batch, name in enumerate(names):
        table = rows(batch)
        content = {b"data": table[:, 1:].copy(), b"labels": table[:, 0].tolist()}
        found[name] = pickle.dumps(content, protocol=2)
    return found


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("batches", [binary_batches, python_batches])
def test_both_layouts_give_the_same_images(
    folder: Path, batches: Callable[[], dict[str, bytes]]
) -> None:
    put(folder, batches())
    images, labels = tasks.get("cifar10").load("train", 5 * ROWS)
    third = rows(2)
    assert images.shape == (5 * ROWS, 32, 32, 3)
    assert np.array_equal(images[2 * ROWS, :, :, 1].ravel(), third[0, 1 + 1024 : 1 + 2048])
    assert np.array_equal(labels[2 * ROWS : 3 * ROWS], third[:, 0])


def test_a_limit_reads_no_more_files_than_needed(folder: Path) -> None:
    put(folder, binary_batches())
    (folder / _cifar_files.BINARY["train"][1]).write_bytes(b"broken")
    images, labels = tasks.get("cifar10").load("train", ROWS)
    assert len(images) == len(labels) == ROWS


@pytest.mark.parametrize("batches", [binary_batches, python_batches])
def test_a_truncated_batch_is_named_with_its_size(
    folder: Path, batches: Callable[[], dict[str, bytes]]
) -> None:
    files = batches()
    name = next(name for name in files if "test_batch" in name)
    files[name] = files[name][:-100]
    put(folder, files)
    with pytest.raises(TaskError) as caught:
        tasks.get("cifar10").load("test")
    assert str(folder / name) in str(caught.value)
    assert f"{len(files[name]):,} bytes" in str(caught.value)


def test_a_missing_batch_among_others_is_named(folder: Path) -> None:
    files = binary_batches()
    del files["cifar-10-batches-bin/data_batch_4.bin"]
    put(folder, files)
    with pytest.raises(TaskError, match=r"data_batch_4\.bin is missing"):
        tasks.get("cifar10").load("train")


def test_a_label_out_of_range_is_refused(folder: Path) -> None:
    files = binary_batches()
    name = _cifar_files.BINARY["test"][0]
    files[name] = b"\x0a" + files[name][1:]
    put(folder, files)
    with pytest.raises(TaskError, match=r"outside 0\.\.9"):
        tasks.get("cifar10").load("test")


class _Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_runs_a_program_is_refused(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "was-run"
    files = python_batches()
    files[_cifar_files.PYTHON["test"][0]] = pickle.dumps({b"data": _Evil(trace)}, protocol=2)
    put(folder, files)
    with pytest.raises(TaskError, match="not allowed"):
        tasks.get("cifar10").load("test")
    assert not trace.exists()


def test_a_pickle_of_something_else_is_refused(folder: Path) -> None:
    files = python_batches()
    files[_cifar_files.PYTHON["test"][0]] = pickle.dumps([1, 2, 3], protocol=2)
    put(folder, files)
    with pytest.raises(TaskError, match="does not hold"):
        tasks.get("cifar10").load("test")


class Server(ThreadingHTTPServer):
    """Serves ``content`` with ranges; the first ``cuts`` answers stop half-way through."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.cuts = 0
        self.ranges = True
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/cifar-10-binary.tar.gz"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if not self.server.ranges:
            first = 0
        body = self.server.content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.cuts:
            self.server.cuts -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in binary_batches().items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    content = buffer.getvalue()
    with Server(content) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        archive = _data.Archive(running.url, hashlib.sha256(content).hexdigest(), len(content))
        monkeypatch.setattr(_cifar_files, "ARCHIVE", archive)
        yield running
        running.shutdown()


def test_a_download_is_unpacked_and_reports_its_progress(folder: Path, server: Server) -> None:
    seen: list[tuple[int, int]] = []
    with tasks.download_progress(lambda have, total: seen.append((have, total))):
        images, _ = tasks.get("cifar10").load("test", ROWS)
    assert len(images) == ROWS
    assert seen[-1] == (len(server.content), len(server.content))
    assert sorted(path.name for path in folder.iterdir()) == ["cifar-10-batches-bin"]
    assert tasks.get("cifar10").load("train", 5 * ROWS)[0].shape[0] == 5 * ROWS
    assert len(server.asked) == 1


def test_a_cut_download_goes_on_where_it_stopped(folder: Path, server: Server) -> None:
    server.cuts = 1
    with pytest.raises(TaskError, match="run again to resume"):
        tasks.get("cifar10").load("test", ROWS)
    part = folder / "cifar-10-binary.tar.gz.part"
    have = part.stat().st_size
    assert 0 < have < len(server.content)
    tasks.get("cifar10").load("test", ROWS)
    assert server.asked == [None, f"bytes={have}-"]
    assert not part.exists()


def test_a_server_without_ranges_is_read_from_the_start(folder: Path, server: Server) -> None:
    server.cuts, server.ranges = 1, False
    with pytest.raises(TaskError):
        tasks.get("cifar10").load("test", ROWS)
    assert tasks.get("cifar10").load("test", ROWS)[0].shape[0] == ROWS


def test_a_wrong_checksum_unpacks_nothing(folder: Path, server: Server) -> None:
    middle = len(server.content) // 2
    flipped = bytes([server.content[middle] ^ 1])
    server.content = server.content[:middle] + flipped + server.content[middle + 1 :]
    with pytest.raises(TaskError, match="SHA-256"):
        tasks.get("cifar10").load("test", ROWS)
    assert list(folder.iterdir()) == []


def test_offline_says_where_to_put_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(b"") as closed:
        url = closed.url
    monkeypatch.setattr(_cifar_files, "ARCHIVE", _data.Archive(url, "0" * 64, 100))
    with pytest.raises(TaskError) as caught:
        tasks.get("cifar10").load("test", ROWS)
    assert "\n" not in str(caught.value)
    assert str(folder) in caught.value.hint
    assert "TINYROBUST_DATA" in caught.value.hint
    assert "cifar-10-batches-bin" in caught.value.hint


def test_without_the_variable_data_lies_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYROBUST_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert _data.folders() == [Path("/somewhere/tinyrobust/data")]
