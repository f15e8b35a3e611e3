"""What a search may change in a recipe, and how.

Comes in: a space's name or YAML file, a recipe, the values of one trial. Goes out: the recipe with
these values. Spaces that come with tinyrobust lie in ``models/spaces``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tinyrobust import recipes, resources, yamlfile
from tinyrobust.artefact import canonical_json
from tinyrobust.errors import RecipeError
from tinyrobust.recipes import Recipe
from tinyrobust.registry import nearest

WIDTH = "width"
_CHANNELS = 4  # filters are multiples of it: kernels compute so many channels at once


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Choice(_Strict):
    """One of several values, each anything that the recipe's key takes."""

    choices: tuple[Any, ...] = Field(min_length=2)


class Range(_Strict):
    """A number from ``low`` to ``high``: an integer where all given are; ``log``: drawn evenly on
    a logarithmic scale."""

    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    @model_validator(mode="after")
    def _is_one(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range starts above 0 and has no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether it draws integers."""
        return all(isinstance(v, int) for v in (self.low, self.high, self.step or 1))


class Space(_Strict):
    """``parameters`` maps a recipe's keys, as ``--set`` takes them, to what they may be.

    A key with ``*`` stands for every element of a list by itself, as in
    ``network.blocks.*.weights``; elements that lack the rest of the key are left out. ``width``
    multiplies the filters of all blocks, rounded to a multiple of four. ``set`` fixes values in all
    trials. What is maximised is accuracy under PGD at ``eps_255``, on validation images.
    """

    space_schema: Literal[1] = Field(default=1, alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)
    description: str = ""
    eps_255: float = Field(default=8.0, gt=0, le=255)
    set: tuple[str, ...] = ()
    parameters: dict[str, Range | Choice] = Field(min_length=1)

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def names() -> list[str]:
    """Names of the spaces that come with tinyrobust."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load(name_or_path: str) -> Space:
    """A space by name or file; raises RecipeError naming file and line, or the nearest name."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        path = _folder() / f"{name_or_path}.yaml"
        if not path.is_file():
            raise RecipeError(f"unknown space '{name_or_path}'", nearest(name_or_path, names()))
    return yamlfile.load(path, Space, RecipeError)


def parameters(space: Space, recipe: Recipe) -> dict[str, Range | Choice]:
    """The parameters of ``recipe``: each ``*`` expanded, in the space's order.

    Raises RecipeError for a key that the recipe does not have.
    """
    tree = recipe.model_dump(mode="json", by_alias=True)
    found: dict[str, Range | Choice] = {}
    for key, values in space.parameters.items():
        expanded = [key] if key == WIDTH else _expand(tree, key.split("."))
        if not expanded:
            raise RecipeError(
                f"space '{space.name}': recipe '{recipe.name}' has no '{key}'",
                "take another space, or a recipe that has the key",
            )
        found |= dict.fromkeys(expanded, values)
    return found


def _expand(tree: Any, keys: Sequence[str]) -> list[str]:
    """All paths that ``keys`` stand for; an optional part that is left out ends the check."""
    if not keys or tree is None:
        return [".".join(keys)] if keys else [""]
    if keys[0] == "*":
        steps = [str(i) for i in range(len(tree))] if isinstance(tree, list) else []
    elif isinstance(tree, list):
        steps = [keys[0]] if keys[0].isdigit() and int(keys[0]) < len(tree) else []
    else:
        steps = [keys[0]] if isinstance(tree, dict) and keys[0] in tree else []
    inner = (lambda s: tree[int(s)]) if isinstance(tree, list) else tree.get
    return [
        f"{step}.{rest}" if rest else step
        for step in steps
        for rest in _expand(inner(step), keys[1:])
    ]


def suggest(trial: Any, wanted: Mapping[str, Range | Choice]) -> dict[str, Any]:
    """A value for every parameter, drawn by an Optuna trial."""
    return {name: _suggest(trial, name, values) for name, values in wanted.items()}


def _suggest(trial: Any, name: str, values: Range | Choice) -> Any:
    if isinstance(values, Choice):
        # Optuna's categories are plain scalars: mappings go as JSON.
        return json.loads(
            trial.suggest_categorical(name, [canonical_json(c) for c in values.choices])
        )
    if values.whole:
        step = int(values.step or 1)
        return trial.suggest_int(name, values.low, values.high, step=step, log=values.log)
    return trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log)


def design(
    recipe: Recipe, space: Space, values: Mapping[str, Any], *, epochs: int, name: str
) -> Recipe:
    """The recipe of one trial; raises RecipeError when the values do not go together."""
    overrides = [f"name={name}", f"training.epochs={epochs}",
                 f"training.check_eps_255={space.eps_255:g}", *space.set]  # fmt: skip
    if WIDTH in values:
        overrides += _widths(recipe, float(values[WIDTH]))
    overrides += [f"{k}={json.dumps(v)}" for k, v in values.items() if k != WIDTH]
    return recipes.override(recipe, overrides)


def _widths(recipe: Recipe, width: float) -> list[str]:
    return [
        f"network.blocks.{i}.filters={max(1, round(block.filters * width / _CHANNELS)) * _CHANNELS}"
        for i, block in enumerate(recipe.network.blocks)
        if block.kind != "depthwise"
    ]


def _folder() -> Path:
    return resources.root() / "models" / "spaces"
