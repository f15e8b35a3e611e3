"""Find, read, override and write recipes.

Comes in: a recipe's name or path, ``key=value`` overrides. Goes out: ``Recipe``; YAML text.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import reduce
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
        raise RecipeError(
            f"--set {text}: the value is not valid YAML",
            "quote the value for the shell, as --set 'training.terms=[a, b]'",
        ) from failure
    _assign(tree, key.strip().split("."), value, text)


def _assign(node: Any, keys: list[str], value: Any, text: str) -> None:
    step: Any = keys[0]
    if isinstance(node, list):
        if not step.isdigit() or int(step) >= len(node):
            raise RecipeError(
                f"--set {text}: '{step}' is not an index below {len(node)}", "count from 0"
            )
        step = int(step)
    elif not isinstance(node, dict):
        raise RecipeError(
            f"--set {text}: what holds '{step}' has no keys", "name the key that it is itself"
        )
    elif step not in node:
        raise RecipeError(f"--set {text}: unknown key '{step}'", nearest(step, node))
    if len(keys) == 1:
        node[step] = value
    elif node[step] is None:  # an optional part that was left out; the schema checks its keys
        node[step] = reduce(lambda inner, name: {name: inner}, reversed(keys[1:]), value)
    else:
        _assign(node[step], keys[1:], value, text)
