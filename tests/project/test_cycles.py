"""No module of the package imports itself by way of others: not late, not for its types only."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec, resolve_name
from pathlib import Path

import pytest

PACKAGE = "tinyrobust"
Imports = dict[str, set[str]]


def imports(folder: Path, package: str) -> Imports:
    """Which modules each module of the package in ``folder`` names in an import, anywhere in it.

    A name that is no module counts as its package's: ``from a import b`` imports ``a.b`` or ``a``.
    """
    files = {}
    for path in folder.rglob("*.py"):
        parts = [package, *path.relative_to(folder).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        files[name] = path
    found: Imports = {}
    for module, path in files.items():
        inside = module if path.stem == "__init__" else module.rpartition(".")[0]
        names = _names(ast.parse(path.read_text("utf-8")), inside)
        found[module] = {_module(name, files) for name in names} - {module, ""}
    return found


def _names(tree: ast.Module, inside: str) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), inside)
            names |= {f"{source}.{alias.name}" for alias in node.names}
    return names


def _module(name: str, known: dict[str, Path]) -> str:
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def cycle(graph: Imports) -> list[str]:
    """A circle of imports, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    spec = find_spec(PACKAGE)
    assert spec is not None and spec.submodule_search_locations
    graph = imports(Path(spec.submodule_search_locations[0]), PACKAGE)
    assert len(graph) > 200 and sum(map(len, graph.values())) > 500  # it was really read
    assert cycle(graph) == []


@pytest.mark.parametrize(
    "back",
    ["import p.a", "from p import a", "from . import a", "from p.a import x",
     "def f():\n    from p.a import x", "if TYPE_CHECKING:\n    from p.a import x"],
)  # fmt: skip
def test_every_kind_of_import_closes_a_circle(back: str, tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    (tmp_path / "a.py").write_text("from p.b import y\n")
    (tmp_path / "b.py").write_text("import os\n")
    assert cycle(imports(tmp_path, "p")) == []
    (tmp_path / "b.py").write_text(back + "\n")
    assert sorted(set(cycle(imports(tmp_path, "p")))) == ["p.a", "p.b"]
