"""Find, read, override and write recipes.

Comes in: a recipe's name or path, ``key=value`` overrides. Goes out: ``Recipe``; YAML text.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tinyrobust import resources, yamlfile
from tinyrobust.errors import RecipeError
from tinyrobust.recipes.schema import Recipe
from tinyrobust.registry import nearest


def names() -> list[str]:
    """Names of the recipes that come with tinyrobust."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or path and apply ``key.subkey=value`` overrides.

    Raises RecipeError naming file and line, or the override, and the allowed values.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        path = _folder() / f"{name_or_path}.yaml"
        if not path.is_file():
            raise RecipeError(
                f"unknown recipe '{name_or_path}'", nearest(str(name_or_path), names())
            )
    return override(yamlfile.load(path, Recipe, RecipeError), overrides)


def override(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with every ``key.subkey=value`` applied; a value is read as YAML.

    A number in the key is an index into a list: ``network.blocks.0.filters=8``.
    Raises RecipeError naming the override at fault.
    """
    if not overrides:
        return recipe
    tree = recipe.model_dump(mode="json", by_alias=True)
    for text in overrides:
        _set(tree, text)
        try:
            Recipe.model_validate(tree)
        except ValidationError as failure:
            raise RecipeError(f"--set {text}: {failure.errors()[0]['msg']}") from failure
    return Recipe.model_validate(tree)


def dump(recipe: Recipe) -> str:
    """The recipe as YAML, every value spelt out; ``load`` of it gives an equal recipe."""
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(recipe.model_dump(mode="json", by_alias=True), text)
    return text.getvalue()


def _folder() -> Path:
    return resources.root() / "models" / "recipes"


def _set(tree: Any, text: str) -> None:
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {text}: expected key=value", "e.g. --set training.epochs=5")
    try:
        value = YAML(typ="safe", pure=True).load(raw)
    except (YAMLError, ValueError) as failure:
        raise RecipeError(f"--set {text}: the value is not valid YAML") from failure
    parts = key.strip().split(".")
    node: Any = tree
    for depth, part in enumerate(parts):
        step: Any = part
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                raise RecipeError(f"--set {text}: '{part}' is not an index below {len(node)}")
            step = int(part)
        elif not isinstance(node, dict):
            raise RecipeError(f"--set {text}: '{'.'.join(parts[:depth])}' has no keys")
        elif part not in node:
            raise RecipeError(f"--set {text}: unknown key '{part}'", nearest(part, node))
        if depth == len(parts) - 1:
            node[step] = value
        else:
            if node[step] is None:
                node[step] = {}
            node = node[step]
