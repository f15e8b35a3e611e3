"""The Graph file, ``*.graph.npz``; this docstring is its specification.

A numpy ``.npz`` archive without pickles:

* ``header``: uint8, UTF-8 JSON: ``{"schema": "tinyrobust.graph/2", "sha256": hex, "graph": G}``
  where ``G`` is ``Graph.header()``: name, task, family, labels, made_from, tensors, nodes, and
  where the network is no classifier ``outputs``: pairs of an output's name and its tensor. Each
  node carries ``op``, ``name``, ``inputs``, ``output``, the names of its ``arrays`` and its
  scalars under their own names.
* one array ``<position of the node>.<field>`` for every name in a node's ``arrays``.

Schema 1, which is read too, knows classifiers alone; their hashes are the same in both.
``sha256`` is ``Graph.sha256``; a file whose content gives another hash is refused.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust.artefact import write_bytes
from tinyrobust.errors import GraphError
from tinyrobust.graph.nodes import NODE_TYPES, Graph, Node, Port, Tensor
from tinyrobust.reading import NPZ_DAMAGE

SCHEMA = "tinyrobust.graph/2"
_READABLE = ("tinyrobust.graph/1", SCHEMA)
SUFFIX = ".graph.npz"
MAX_FILE_BYTES = 64 << 20
_HINT = "make the file again with `tinyrobust convert`"
# What numpy, zipfile and json raise on a file that is not what it should be.


def to_bytes(graph: Graph) -> bytes:
    """The file's content; equal Graphs give equal bytes."""
    header = {"schema": SCHEMA, "sha256": graph.sha256, "graph": graph.header()}
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for i, node in enumerate(graph.nodes):
        arrays |= {f"{i}.{key}": value for key, value in node.arrays.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def save(graph: Graph, path: Path) -> None:
    """Write ``graph`` to ``path`` atomically."""
    write_bytes(path, to_bytes(graph))


def load(path: Path) -> Graph:
    """Read, check the hash, verify. Raises GraphError for anything else than a sound file."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise GraphError(
                f"{path} is larger than {MAX_FILE_BYTES:,} bytes; not a Graph file",
                "give a model.npz that tinyrobust convert has written",
            )
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise GraphError(f"no such file: {path}", "check the path") from error
    except OSError as error:
        raise GraphError(f"cannot read {path}: {error.strerror}", "check the path") from error
    return from_bytes(data, str(path))


def from_bytes(data: bytes, where: str = "the Graph file") -> Graph:
    """``load`` for bytes in memory; ``where`` names them in errors."""
    try:
        arrays = _arrays(data, where)
        header = json.loads(bytes(arrays["header"]))
        if header["schema"] not in _READABLE:
            raise GraphError(f"{where} has schema '{header['schema']}', need '{SCHEMA}'", _HINT)
        graph = _graph(header["graph"], arrays)
        expected = header["sha256"]
    except GraphError as error:
        raise GraphError(f"{where}: {error.message}", error.hint) from error
    except NPZ_DAMAGE as error:
        raise GraphError(f"{where} is damaged or truncated ({error})", _HINT) from error
    if graph.sha256 != expected:
        raise GraphError(
            f"{where}: content hash {graph.sha256[:12]} is not the recorded {str(expected)[:12]}",
            _HINT,
        )
    return graph


def _arrays(data: bytes, where: str) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_FILE_BYTES:
        raise GraphError(
            f"{where} unpacks to {size:,} bytes; not a Graph file",
            "give a model.npz that tinyrobust convert has written",
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def _graph(header: dict[str, Any], arrays: dict[str, Any]) -> Graph:
    return Graph(
        name=str(header["name"]),
        task=str(header["task"]),
        family=str(header["family"]),
        made_from=str(header["made_from"]),
        labels=tuple(str(label) for label in header["labels"]),
        tensors=tuple(_tensor(t) for t in header["tensors"]),
        nodes=tuple(_node(i, n, arrays) for i, n in enumerate(header["nodes"])),
        outputs=tuple(Port(str(name), str(tensor)) for name, tensor in header.get("outputs", ())),
    )


def _tensor(entry: dict[str, Any]) -> Tensor:
    tensor = Tensor(str(entry["name"]), tuple(int(d) for d in entry["shape"]), int(entry["lo"]),
                    int(entry["hi"]), int(entry["frac_bits"]))  # fmt: skip
    if "scale" not in entry:
        return tensor
    return dataclasses.replace(
        tensor, scale=float(entry["scale"]), zero_point=int(entry["zero_point"])
    )


def _node(position: int, entry: dict[str, Any], arrays: dict[str, Any]) -> Node:
    if entry["op"] not in NODE_TYPES:
        raise GraphError(f"node {position} has unknown operation '{entry['op']}'", _HINT)
    kind = NODE_TYPES[entry["op"]]
    return kind(**{
        item.name: arrays[f"{position}.{item.name}"]
        if isinstance(_default(item), np.ndarray)
        else _scalar(item, entry[item.name])
        for item in dataclasses.fields(kind)
    })  # fmt: skip


def _default(item: dataclasses.Field[Any]) -> Any:
    factory = item.default_factory
    return factory() if factory is not dataclasses.MISSING else item.default


def _scalar(item: dataclasses.Field[Any], value: Any) -> Any:
    """``value`` from JSON as the field's own type; never a float or bool in place of an int."""
    default = _default(item)
    if item.name == "inputs":
        default, value = (), tuple(value)
        sound = all(type(part) is str for part in value)
    elif isinstance(default, tuple):
        value = tuple(value)
        sound = len(value) == len(default) and all(type(part) is int for part in value)
    else:
        sound = type(value) is (str if default is dataclasses.MISSING else type(default))
    if not sound:
        raise ValueError(f"{item.name} is {value!r:.60}")
    return value
