"""A library on disk: a folder that is complete or not there, and is replaced only if it is ours.

In: a Graph, a board, a format. Out: the folder with ``tinyrobust.json``, its manifest, schema
``tinyrobust.library/1``: the Graph's hash, the versions, the kernels, and every file's SHA-256.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyrobust import __version__, memory, resources
from tinyrobust.artefact import canonical_json, sha256, write_json, write_text
from tinyrobust.boards import Board
from tinyrobust.errors import TinyRobustError
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.variables import FEATURES
from tinyrobust.library._format import formats
from tinyrobust.library._names import identifier
from tinyrobust.library._package import Package, package
from tinyrobust.registry import nearest
from tinyrobust.writing import replacing

SCHEMA = "tinyrobust.library/1"
MANIFEST = "tinyrobust.json"
VERSION = "0.1.0"  # of a library, until its owner gives one
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True, eq=False)
class Library:
    """A written library: its folder, its manifest, and what is in it."""

    folder: Path
    manifest: dict[str, Any]
    package: Package


def export(
    graph: Graph,
    board: Board,
    out: Path,
    *,
    format: str,
    model: str,
    name: str | None = None,
    version: str = VERSION,
    force: Mapping[str, str] | None = None,
    aim: memory.Aim | None = None,
    overwrite: bool = False,
) -> Library:
    """Write ``graph`` as a library of ``format`` into the folder ``out``.

    Kernels are chosen for ``board`` (``generic_board`` for a core alone) as ``image.build`` would,
    but none runs code that it wrote into RAM unless ``aim.code_in_ram``. ``name``: what everything
    in it is called, by default the model's name. ``overwrite`` also replaces a library that was
    changed since. Raises TinyRobustError (an unknown format, a folder that is not ours, code in RAM
    where it cannot be), and what the planner raises; nothing is half-written.
    """
    known = formats()
    if format not in known:
        raise TinyRobustError(f"unknown format '{format}'", nearest(format, known))
    kind = known[format]
    if not _VERSION.fullmatch(version):
        raise TinyRobustError(f"'{version}' is no version such as 1.0.2", "give three numbers")
    aim = aim_of(aim or memory.Aim(code_in_ram=False), format)
    if aim.code_in_ram:
        _refuse_code_in_ram(format, kind.code_in_ram, board)
    check(out, overwrite=overwrite)
    plan = memory.plan(graph, board, force=force or {}, aim=aim)
    made = package(
        plan, name=identifier(name or model), model=model, version=version, optimise=kind.optimise
    )
    files = kind.files(made)
    files["LICENSE"] = (resources.root() / "LICENSE").read_text()
    files["README.md"] = made.render(
        "readme.md", format=kind.title, public=made.public,
        header_path=next(path for path in files if path.rpartition("/")[2] == made.public),
        how=kind.next_step.format(name=f"tinyrobust_{made.name}", folder="."),
    )  # fmt: skip
    manifest = _manifest(made, format, files)
    _put(out, files, manifest)
    return Library(out, manifest, made)


def aim_of(aim: memory.Aim, format: str) -> memory.Aim:
    """``aim`` as the planner is given it for ``format``."""
    return replace(aim, weights_as_code=formats()[format].weights_as_code)


def _refuse_code_in_ram(format: str, reason: str, board: Board) -> None:
    if reason:
        raise TinyRobustError(
            f"format {format} takes no code in RAM: {reason}", "leave --code-in-ram out"
        )
    if "dsp" not in FEATURES[board.core]:
        raise TinyRobustError(
            f"no kernel writes code for {board.core}, which has no DSP instructions",
            "leave --code-in-ram out",
        )


def check(out: Path, *, overwrite: bool = False) -> None:
    """Raise TinyRobustError unless ``out`` is not there, empty, or a library that nobody changed
    (with ``overwrite``: any library)."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    manifest = _own_manifest(out)
    if manifest is None:
        raise TinyRobustError(
            f"{out} exists and is not a library that tinyrobust wrote",
            "give another folder with --out",
        )
    if overwrite:
        return
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if not p.is_dir()}
    strange = sorted(there - {MANIFEST, *manifest})
    changed = [path for path, digest in manifest.items()
               if path in there and sha256((out / path).read_bytes()) != digest]  # fmt: skip
    if strange or changed:
        what = [f"{path} is not of it" for path in strange] + [f"{p} was changed" for p in changed]
        more = f" and {len(what) - 3} more" if len(what) > 3 else ""
        raise TinyRobustError(
            f"{out} is a library, but {', '.join(what[:3])}{more}",
            "give another folder with --out, or --overwrite to lose that",
        )


def _own_manifest(out: Path) -> dict[str, str] | None:
    """File -> SHA-256 of a library in ``out``; None when there is none."""
    try:
        data = json.loads((out / MANIFEST).read_text())
        if data["schema"] != SCHEMA:
            return None
        return {str(path): str(digest) for path, digest in data["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _manifest(made: Package, format: str, files: Mapping[str, str]) -> dict[str, Any]:
    plan = made.plan
    return {
        "schema": SCHEMA,
        "format": format,
        "name": made.name,
        "model": made.facts["model"],
        "version": made.facts["version"],
        "graph_sha256": plan.graph.sha256,
        "plan_sha256": sha256(canonical_json(plan.as_json()).encode()),
        "core": plan.core,
        "board": plan.board if plan.board != plan.core else None,
        "needs_dsp": made.facts["needs_dsp"],
        "arena_bytes": made.facts["arena_bytes"],
        "code_ram_bytes": plan.executable_bytes,
        "layers": [{"name": step.name, "kernel": step.kernel} for step in plan.steps],
        "versions": {"tinyrobust": __version__, "python": platform.python_version()},
        "files": {path: sha256(content.encode()) for path, content in sorted(files.items())},
    }


def _put(out: Path, files: Mapping[str, str], manifest: Mapping[str, Any]) -> None:
    """All of it beside ``out``, then in its place."""
    with replacing(out) as work:
        for path, content in files.items():
            write_text(work / path, content)
        write_json(work / MANIFEST, manifest)
