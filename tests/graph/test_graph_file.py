"""The Graph file: what is written comes back, and a damaged or hostile file is a GraphError."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.graphs import random_graph, tiny_graph
from tinyrobust.artefact import canonical_json
from tinyrobust.errors import GraphError
from tinyrobust.graph import file, run

GRAPH = tiny_graph()
DATA = file.to_bytes(GRAPH)
IMAGE = np.random.default_rng(0).integers(0, 256, (1, *GRAPH.input.shape), np.uint8)


def _sound_or_refused(data: bytes) -> bool:
    """Load ``data``; if it is accepted it must be the very Graph and must run."""
    try:
        graph = file.from_bytes(data)
    except GraphError as error:
        assert "\n" not in error.message.strip() and len(error.message) < 2000
        return False
    assert run(graph, np.zeros((1, *graph.input.shape), np.uint8)).shape == (1, graph.output.size)
    return True


def _members(data: bytes = DATA) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _pack(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _with_header(header: Any) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return _pack(_members() | {"header.npy": _npy(np.frombuffer(text, np.uint8))})


def _header() -> dict[str, Any]:
    with np.load(io.BytesIO(DATA)) as archive:
        return dict(json.loads(bytes(archive["header"])))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_written_graph_comes_back_equal(seed: int) -> None:
    graph = random_graph(seed)
    data = file.to_bytes(graph)
    again = file.from_bytes(data)
    assert again.sha256 == graph.sha256 and again.header() == graph.header()
    assert file.to_bytes(again) == data


def test_a_written_graph_gives_the_same_scores(tmp_path: Path) -> None:
    path = tmp_path / "a" / "tiny.graph.npz"
    file.save(GRAPH, path)
    assert np.array_equal(run(file.load(path), IMAGE), run(GRAPH, IMAGE))
    assert [p.name for p in path.parent.iterdir()] == ["tiny.graph.npz"]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(DATA) - 1))
@example(0)
def test_a_truncated_file_is_refused(length: int) -> None:
    assert not _sound_or_refused(DATA[:length])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(DATA) * 8 - 1))
def test_a_flipped_bit_never_changes_a_result(bit: int) -> None:
    damaged = bytearray(DATA)
    damaged[bit // 8] ^= 1 << (bit % 8)
    try:
        graph = file.from_bytes(bytes(damaged))
    except GraphError:
        return
    assert graph.sha256 == GRAPH.sha256  # the flip hit a byte that means nothing, as a time stamp


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_refused(noise: bytes) -> None:
    assert not _sound_or_refused(noise)
    assert not _sound_or_refused(DATA[:200] + noise)


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(sorted(_members())), content=st.binary(max_size=200), keep=st.booleans()
)
def test_a_damaged_array_inside_a_sound_archive_is_refused(
    name: str, content: bytes, keep: bool
) -> None:
    members = _members()
    members[name] = (members[name][:20] if keep else b"") + content
    assert not _sound_or_refused(_pack(members))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def _paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    return [prefix, *(path for key, inner in items for path in _paths(inner, (*prefix, key)))]


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from(_paths(_header())), value=JSON)
@example(path=("graph", "nodes", 1, "strides", 0), value=1.0)
@example(path=("graph", "nodes", 1, "strides"), value=[1, 1, 1])
@example(path=("graph", "nodes", 0, "shift"), value=True)
@example(path=("graph", "nodes", 2, "shift"), value=[10])
@example(path=("graph", "nodes", 1, "inputs"), value="q")
@example(path=("graph", "nodes", 1, "op"), value=[])
@example(path=("graph", "tensors", 0, "shape"), value=[2**40, 2**40, 2**40])
@example(path=("graph", "tensors", 0, "shape"), value=[])
def test_a_hostile_header_is_refused(path: tuple[Any, ...], value: Any) -> None:
    """One value of the header replaced by any JSON; the hash is forged to fit, so that only the
    checks of types and rules can refuse it."""
    header: Any = _header()
    if not path:
        header = value
    else:
        place = header
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    _forge_hash(header)
    if _sound_or_refused(_with_header(header)):
        assert file.from_bytes(_with_header(header)).sha256 == header["sha256"]


def _forge_hash(header: Any) -> None:
    """Set the hash that ``Graph.sha256`` would give for this header, where that makes sense."""
    try:
        digest = hashlib.sha256(canonical_json(header["graph"]).encode())
        for entry, node in zip(header["graph"]["nodes"], GRAPH.nodes, strict=True):
            for key, array in sorted(node.arrays.items()):
                digest.update(f"{entry['name']}/{key}{array.shape}{array.dtype.str}".encode())
                digest.update(array.tobytes())
        header["sha256"] = digest.hexdigest()
    except (TypeError, KeyError, ValueError, IndexError):
        return


def test_the_forged_hash_is_the_right_one() -> None:
    header = _header() | {"sha256": ""}
    _forge_hash(header)
    assert header["sha256"] == GRAPH.sha256


@pytest.mark.parametrize(
    "member",
    [
        _npy(np.array([object()])),  # a pickle
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|i1', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117)
        + b"\n",
        b"\x93NUMPY\x01\x00\x76\x00" + (b"(" * 117) + b"\n",
        b"\x93NUMPY\x01\x00\x76\x00" + (b"'''" * 39) + b"\n",
        b"\x93NUMPY\x09\x00",
        b"not numpy at all",
    ],
    ids=["pickle", "terabyte", "nested", "unclosed", "version", "text"],
)
def test_a_hostile_array_is_refused(member: bytes) -> None:
    assert not _sound_or_refused(_pack(_members() | {"1.weights.npy": member}))
    assert not _sound_or_refused(_pack(_members() | {"header.npy": member}))


def test_a_deeply_nested_header_is_refused() -> None:
    assert not _sound_or_refused(_with_header(b"[" * 100_000))


def test_an_archive_bomb_is_refused_before_it_unpacks() -> None:
    bomb = _pack(_members() | {"bomb.npy": bytes(file.MAX_FILE_BYTES)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 200_000
    with pytest.raises(GraphError, match="unpacks to"):
        file.from_bytes(bomb)


@pytest.mark.parametrize("missing", sorted(_members()))
def test_a_missing_array_is_refused(missing: str) -> None:
    members = _members()
    del members[missing]
    with pytest.raises(GraphError, match="damaged or truncated"):
        file.from_bytes(_pack(members))


def test_another_weight_is_another_hash() -> None:
    weights = np.array(GRAPH.nodes[1].arrays["weights"])
    weights.flat[0] = 0 if weights.flat[0] else 1
    with pytest.raises(GraphError, match="content hash"):
        file.from_bytes(_pack(_members() | {"1.weights.npy": _npy(weights)}))


def test_another_schema_names_both() -> None:
    with pytest.raises(GraphError, match=r"'tinyrobust.graph/9', need 'tinyrobust.graph/2'"):
        file.from_bytes(_with_header(_header() | {"schema": "tinyrobust.graph/9"}))


def test_missing_and_unreadable_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no such file"):
        file.load(tmp_path / "none.graph.npz")
    with pytest.raises(GraphError, match="cannot read"):
        file.load(tmp_path)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.graph.npz"
    with path.open("wb") as large:
        large.truncate(file.MAX_FILE_BYTES + 1)
    with pytest.raises(GraphError, match="is larger than"):
        file.load(path)
