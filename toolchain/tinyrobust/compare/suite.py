"""What a comparison runs: models, attacks, sizes, how many images, which board.

Comes in: a suite's name, a YAML file, or a command line's values. Goes out: a validated ``Suite``.
Unknown keys are errors. Suites that come with tinyrobust lie in ``models/suites``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tinyrobust import corruptions, resources, yamlfile
from tinyrobust.attacks import Settings
from tinyrobust.errors import TinyRobustError
from tinyrobust.evaluate.config import Series
from tinyrobust.registry import nearest

Size = Annotated[int | float, Field(ge=1, le=100_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Strict):
    """A model: a zoo model, a Graph file or a ``.tflite`` file, and what tables call it.

    A file is looked for as written, beside the suite's file, and under ``models/zoo``; variables
    such as ``$TINYROBUST_DATA`` are filled in.
    """

    model: str = Field(min_length=1)
    title: str = ""


class Group(_Strict):
    """Attacks that see the same ``samples`` first test images, each at every size of ``eps`` (of
    255) in ``norm``; ``steps`` and ``queries`` are each attack's own where left out, ``surrogate``
    is the model that attack ``transfer`` follows.

    With ``best: K`` only those K models see the group that have the highest worst-of-suite accuracy
    under the groups before, at the group's largest size.
    """

    attacks: tuple[str, ...] = Field(min_length=1)
    eps: tuple[Size, ...] = Field(min_length=1)
    samples: int = Field(ge=1)
    norm: Literal["linf", "l2"] = "linf"
    steps: int | None = Field(default=None, ge=1)
    queries: int | None = Field(default=None, ge=1)
    surrogate: str | None = None
    best: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits_the_pixel(self) -> Group:
        if self.norm == "linf" and max(self.eps) > 255:
            raise ValueError(f"eps {max(self.eps):g} is not in 1..255")
        return self

    @property
    def series(self) -> tuple[Series, ...]:
        """Every attack at every size, smallest first."""
        sizes = sorted({int(e) if e == int(e) else e for e in self.eps})
        return tuple(Series(attack, eps, self.norm) for attack in self.attacks for eps in sizes)

    @property
    def settings(self) -> Settings:
        """How its attacks are run."""
        return Settings(self.norm, False, self.steps, self.queries, self.surrogate)


class Corrupted(_Strict):
    """Corruptions that all models see (``tinyrobust.corruptions``): the first ``samples`` test
    images by every kind at every strength."""

    samples: int = Field(ge=1)
    kinds: tuple[str, ...] = Field(default_factory=lambda: tuple(corruptions.names()), min_length=1)
    strengths: tuple[Literal[1, 2, 3, 4, 5], ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)

    @model_validator(mode="after")
    def _kinds_are_known(self) -> Corrupted:
        for name in self.kinds:
            if name not in corruptions.names():
                raise ValueError(f"no corruption '{name}'")
        return self


class PaperFigure(_Strict):
    """An average advantage that a paper reports, in percentage points, and what it is about."""

    kind: Literal["white-box", "black-box"]
    points: float
    about: str


class Suite(_Strict):
    """A comparison. ``baseline`` is the model that the others' advantage is taken over."""

    suite_schema: Literal[1] = Field(default=1, alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)
    description: str = ""
    task: str
    board: str | None = None
    seed: int = Field(default=0, ge=0)
    baseline: str | None = None
    models: tuple[Entry, ...] = Field(min_length=1)
    groups: tuple[Group, ...] = Field(min_length=1)
    corruptions: Corrupted | None = None
    papers: tuple[PaperFigure, ...] = ()

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _names_are_there_once(self) -> Suite:
        named = [entry.model for entry in self.models]
        if len(set(named)) < len(named):
            twice = next(name for name in named if named.count(name) > 1)
            raise ValueError(f"model '{twice}' is there twice")
        if self.baseline is not None and self.baseline not in named:
            raise ValueError(f"the baseline '{self.baseline}' is none of the models")
        keys = [
            Series(a, e, group.norm).key
            for group in self.groups for a in group.attacks for e in group.eps
        ]  # fmt: skip
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"{twice} is in the groups twice")
        if self.groups[0].best is not None:
            raise ValueError("the first group cannot be for the best models: none is known yet")
        return self


def names() -> list[str]:
    """Names of the suites that come with tinyrobust."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load(name_or_path: str) -> tuple[Suite, Path]:
    """A suite by name or file, and the folder of its file.

    Raises TinyRobustError naming file and line, or the nearest known suite.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        path = _folder() / f"{name_or_path}.yaml"
        if not path.is_file():
            raise TinyRobustError(
                f"unknown suite '{name_or_path}'", nearest(str(name_or_path), names())
            )
    return yamlfile.load(path, Suite, TinyRobustError), path.parent


def from_options(
    models: Sequence[str], groups: Sequence[Mapping[str, Any]], *, task: str,
    baseline: str | None, seed: int, board: str | None,
) -> Suite:  # fmt: skip
    """The suite that a command line says; raises TinyRobustError where it says something wrong."""
    try:
        return Suite.model_validate({
            "name": "models", "task": task, "board": board, "seed": seed, "baseline": baseline,
            "models": [{"model": name} for name in models], "groups": groups,
        })  # fmt: skip
    except ValidationError as error:
        raise TinyRobustError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def locate(entry: Entry, folder: Path) -> str:
    """What ``--model`` would take for ``entry`` of a suite in ``folder``."""
    text = os.path.expandvars(entry.model)
    for place in (Path(text), folder / text, resources.root() / "models" / "zoo" / text):
        if place.is_file():
            return str(place)
    return text


def _folder() -> Path:
    return resources.root() / "models" / "suites"
