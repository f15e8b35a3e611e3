"""The trained-model folder: what training leaves and conversion reads.

Comes in: a trained Keras model. Goes out: a folder with

- ``recipe.yaml``: the recipe, every value spelt out;
- ``weights.npz``: per ternary layer ``<layer>/trits`` (int8, as the Keras kernel) and
  ``<layer>/alpha`` (float32, per output channel); binary and integer layers have ``codes`` for
  ``trits``, float ones ``kernel`` alone; per batch norm ``<layer>/gamma``, ``beta``, ``mean``,
  ``variance`` (float32) and ``epsilon``; ``dense/bias`` where there is one;
- ``training.json``: seeds, history, versions, seconds, accuracies;
- ``curve.png``: the history drawn.

``rebuild`` makes the Keras model again; its logits equal those of the ``frozen`` one, bit for bit.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qkeras.quantizers import ternary

from tinyrobust import artefact, recipes
from tinyrobust.errors import TinyRobustError
from tinyrobust.recipes import Recipe
from tinyrobust.train.layers import build_model, keras, kernel_layers
from tinyrobust.train.quantizers import codes, latent, quantizer_of, top_code

Weights = dict[str, npt.NDArray[Any]]
_NORM = {"gamma": "gamma", "beta": "beta", "mean": "moving_mean", "variance": "moving_variance"}


def frozen(recipe: Recipe, latent_model: Any) -> Any:
    """A deterministic model whose kernels are exactly the quantised weights of ``latent_model``.

    Codes and scales are those of QKeras's deterministic quantiser on the latent kernels; batch
    norms are copied.
    """
    weights = _norm_weights(latent_model)
    for layer in kernel_layers(latent_model):
        if quantizer_of(layer) is None:
            weights[f"{layer.name}/kernel"] = latent(layer).numpy()
        else:
            key = _codes_key(layer)
            weights[f"{layer.name}/{key}"], weights[f"{layer.name}/alpha"] = codes(layer)
        if layer.use_bias:
            weights[f"{layer.name}/bias"] = layer.bias.numpy()
    return assemble(recipe, weights)


def extract(model: Any) -> Weights:
    """Codes, scales and batch norms of a frozen model, under the names of ``weights.npz``.

    They are read from the kernels themselves; the quantiser, run again, would move the scales
    by some units in the last place.
    """
    weights = _norm_weights(model)
    for layer in kernel_layers(model):
        kernel, quantizer = latent(layer).numpy(), quantizer_of(layer)
        if layer.use_bias:
            weights[f"{layer.name}/bias"] = layer.bias.numpy()
        if quantizer is None:
            weights[f"{layer.name}/kernel"] = kernel
            continue
        largest = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0)
        alpha = largest / np.float32(top_code(quantizer))
        integers = np.rint(kernel / alpha).astype(np.int8)
        if not np.array_equal(integers.astype(np.float32) * alpha, kernel):
            raise TinyRobustError(
                f"{layer.name} is not frozen: its kernel is not quantised",
                "freeze it first, as the end of a training does",
            )
        weights[f"{layer.name}/{_codes_key(layer)}"] = integers
        weights[f"{layer.name}/alpha"] = alpha
    return weights


def _codes_key(layer: Any) -> str:
    return "trits" if isinstance(quantizer_of(layer), ternary) else "codes"


def _norm_weights(model: Any) -> Weights:
    found: Weights = {}
    for layer in _norms(model):
        for key, attribute in _NORM.items():
            found[f"{layer.name}/{key}"] = getattr(layer, attribute).numpy()
        found[f"{layer.name}/epsilon"] = np.asarray(layer.epsilon, np.float32)
    return found


def assemble(recipe: Recipe, weights: Weights) -> Any:
    """The recipe's deterministic Keras model carrying ``weights``.

    Raises TinyRobustError when an array is missing, has the wrong shape, or holds no trits.
    """
    model = build_model(recipe)
    for layer in kernel_layers(model):
        latent(layer).assign(_kernel(weights, layer))
        if layer.use_bias:
            shape = tuple(layer.bias.shape)
            layer.bias.assign(_take(weights, f"{layer.name}/bias", shape))
    for layer in _norms(model):
        for key, attribute in _NORM.items():
            variable = getattr(layer, attribute)
            variable.assign(_take(weights, f"{layer.name}/{key}", tuple(variable.shape)))
        epsilon = float(_take(weights, f"{layer.name}/epsilon", ()))
        if not np.isclose(epsilon, layer.epsilon, rtol=1e-6):
            raise TinyRobustError(
                f"weights: {layer.name}/epsilon is {epsilon}, the model has {layer.epsilon}",
                "give the weights.npz that the recipe's own training wrote, or train again",
            )
    return model


def _kernel(weights: Weights, layer: Any) -> npt.NDArray[np.float32]:
    """Codes times scales of a layer, checked."""
    shape, quantizer = tuple(latent(layer).shape), quantizer_of(layer)
    if quantizer is None:
        return _take(weights, f"{layer.name}/kernel", shape)
    key, top = _codes_key(layer), top_code(quantizer)
    integers = _take(weights, f"{layer.name}/{key}", shape)
    alpha = _take(weights, f"{layer.name}/alpha", shape[-1:])
    if integers.dtype != np.int8 or np.abs(integers.astype(np.int16)).max() > top:
        allowed = "-1, 0, +1" if key == "trits" else f"-{top}..{top}"
        raise TinyRobustError(
            f"weights: {layer.name}/{key} must be int8 in {allowed}",
            "give the weights.npz that the recipe's own training wrote, or train again",
        )
    used = np.abs(integers).reshape(-1, shape[-1]).any(axis=0)
    if not used.all() or not (np.isfinite(alpha) & (alpha > 0)).all():
        raise TinyRobustError(
            f"weights: {layer.name} has a channel of zeros only, or a scale that is not "
            "positive; QKeras's quantiser cannot keep it",
            "give the weights.npz that the recipe's own training wrote, or train again",
        )
    return integers.astype(np.float32) * alpha


def save(folder: Path, recipe: Recipe, model: Any, training: dict[str, Any]) -> None:
    """Write recipe.yaml, weights.npz and, last, training.json (its presence means: finished)."""
    buffer = io.BytesIO()
    np.savez(buffer, **extract(model))
    artefact.write_text(folder / "recipe.yaml", recipes.dump(recipe))
    artefact.write_bytes(folder / "weights.npz", buffer.getvalue())
    artefact.write_json(folder / "training.json", training)


def read(folder: Path) -> tuple[Recipe, Weights]:
    """Recipe and weights of a trained-model folder.

    Raises TinyRobustError (RecipeError for the recipe) when a file is missing or broken.
    """
    recipe = recipes.load(folder / "recipe.yaml")
    path = folder / "weights.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            return recipe, {key: file[key] for key in file.files}
    except FileNotFoundError as error:
        raise TinyRobustError(
            f"{folder} holds no weights.npz", "the training has not finished: --resume it"
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TinyRobustError(
            f"{path} is not a weights file: {error}",
            "give the weights.npz that the recipe's own training wrote, or train again",
        ) from error


def rebuild(folder: str | Path) -> Any:
    """The Keras model of a trained-model folder: floats [N,H,W,C] to logits [N,K].

    Its layers are plain QKeras with quantisers of alpha 'auto'. Raises as ``read`` does.
    """
    recipe, weights = read(Path(folder))
    return assemble(recipe, weights)


def _norms(model: Any) -> list[Any]:
    return [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]


def _take(weights: Weights, key: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if key not in weights:
        raise TinyRobustError(f"weights: '{key}' is missing", "the recipe and weights must match")
    value = weights[key]
    if value.shape != shape:
        raise TinyRobustError(
            f"weights: '{key}' has shape {value.shape}, the model {shape}",
            "give the weights.npz that the recipe's own training wrote, or train again",
        )
    return value
