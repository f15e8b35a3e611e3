"""The state of a training between two epochs, in one file that is whole or absent.

Comes in: variables, history, the recipe. Goes out: ``checkpoint.npz``; and back.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from tinyrobust import artefact
from tinyrobust.errors import RecipeError, TinyRobustError
from tinyrobust.reading import NPZ_DAMAGE
from tinyrobust.recipes import Recipe

NAME = "checkpoint.npz"


@dataclass(frozen=True)
class Checkpoint:
    """Every variable's value in order, the rows of the epochs done, and the attack's steps."""

    variables: list[npt.NDArray[Any]]
    history: list[dict[str, float]]
    seconds: list[float]
    attack_steps: int = 1


def save(folder: Path, recipe: Recipe, state: Checkpoint) -> None:
    """Replace the folder's checkpoint at once; on a full disk the old one stays."""
    about = {
        "recipe": recipe.model_dump(mode="json", by_alias=True),
        "history": state.history,
        "seconds": state.seconds,
        "attack_steps": state.attack_steps,
    }
    arrays = {f"v{i}": value for i, value in enumerate(state.variables)}
    buffer = io.BytesIO()
    np.savez(buffer, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    artefact.write_bytes(folder / NAME, buffer.getvalue())


def load(folder: Path, recipe: Recipe) -> Checkpoint:
    """The folder's checkpoint.

    Raises TinyRobustError when it is missing or broken, RecipeError when its recipe differs.
    """
    path = folder / NAME
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            variables = [file[f"v{i}"] for i in range(len(file.files) - 1)]
    except FileNotFoundError as error:
        raise TinyRobustError(
            f"{folder} holds no checkpoint to resume from", "start anew, without --resume"
        ) from error
    except NPZ_DAMAGE as error:
        raise TinyRobustError(
            f"{path} is not a checkpoint: {error}", "remove it and start anew, without --resume"
        ) from error
    if not _same(about["recipe"], recipe):
        raise RecipeError(
            f"{path} was made by another recipe than this one",
            "resume with the same recipe and --set, or choose another --out",
        )
    return Checkpoint(variables, about["history"], about["seconds"], about["attack_steps"])


def _same(saved: Any, recipe: Recipe) -> bool:
    """Whether the saved recipe says the same, keys that it does not know yet at their defaults."""
    try:
        return Recipe.model_validate(saved) == recipe
    except ValidationError:
        return False


def restore(variables: Sequence[Any], state: Checkpoint) -> None:
    """Assign the checkpoint's values to TensorFlow variables in the same order."""
    if [tuple(v.shape) for v in variables] != [value.shape for value in state.variables]:
        raise TinyRobustError(
            "the checkpoint does not fit the model", "remove it and start anew, without --resume"
        )
    for variable, value in zip(variables, state.variables, strict=True):
        variable.assign(value)
