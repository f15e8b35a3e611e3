"""Recipes: every mistake names file, line and what is allowed; overrides; writing and reading."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyrobust import recipes
from tinyrobust.errors import RecipeError
from tinyrobust.recipes import Recipe, Residual

GOOD = """\
name: tiny
task: shapes
network:
  blocks:
    - {kind: conv, filters: 4, stride: 2}
    - kind: residual
      filters: 8
training:
  epochs: 3
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", recipes.names())
def test_every_shipped_recipe_loads_under_its_own_name(name: str) -> None:
    assert recipes.load(name).name == name


@pytest.mark.parametrize("name", recipes.names())
def test_a_dumped_recipe_reads_back_equal(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    assert recipes.load(write(tmp_path, recipes.dump(recipe))) == recipe


def test_defaults_are_7_bit_activations_and_stochastic_ternary(tmp_path: Path) -> None:
    recipe = recipes.load(write(tmp_path, GOOD))
    assert recipe.network.activation.bits == 7
    assert recipe.network.activation.frac == 5
    assert recipe.network.weights.quantizer == "stochastic_ternary"
    assert isinstance(recipe.network.blocks[1], Residual)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("epochs: 3", "epoch: 3", 9, ["'epoch'", "epochs"]),
        ("epochs: 3", "epochs: 0", 9, ["training.epochs", "greater than or equal to 1"]),
        ("filters: 8", "filters: many", 7, ["network.blocks.1.filters", "'many'"]),
        ("stride: 2", "stride: 3", 5, ["network.blocks.0.stride", "1 or 2"]),
        ("kind: residual", "kind: transposed", 6, ["'conv'", "'residual'"]),
        ("task: shapes\n", "", 1, ["'task' is missing"]),
        (
            "task: shapes",
            "task: shapes\nactivation: {bits: 7}",
            3,
            ["unknown key 'activation'", "known:"],
        ),
        ("epochs: 3", "epochs: 3\njacobian: {strength: -1}", 10, ["jacobian.strength"]),
    ],
)
def test_a_mistake_names_the_line_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, line: int, words: list[str]
) -> None:
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        recipes.load(path)
    text = str(caught.value)
    assert f"{path}:{line}:" in text
    for word in words:
        assert word in text


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'shapes-small'"):
        recipes.load("shape-small")


def test_a_jacobian_part_of_one_image_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "jacobian: {strength: 1, batch_fraction: 0.001}\n")
    with pytest.raises(RecipeError, match="fewer than 2 images"):
        recipes.load(path)


def test_overrides_reach_nested_and_listed_values(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    recipe = recipes.load(
        path, ["jacobian.strength=0.5", "network.blocks.0.filters=6", "network.activation.bits=4"]
    )
    assert recipe.jacobian.strength == 0.5
    assert recipe.network.blocks[0].filters == 6
    assert recipe.network.activation.bits == 4
    assert recipe.network.blocks[1] == recipes.load(path).network.blocks[1]


def test_an_override_can_fill_an_optional_part(tmp_path: Path) -> None:
    recipe = recipes.load(write(tmp_path, GOOD), ["network.blocks.1.activation.bits=4"])
    activation = recipe.network.blocks[1].activation
    assert activation is not None
    assert activation.bits == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jacobian.strenght=1", "did you mean 'strength'"),
        ("training.epochs", "expected key=value"),
        ("training.epochs=none", "valid integer"),
        ("training.epochs=[", "not valid YAML"),
        ("network.blocks.7.filters=1", "not an index below 2"),
        ("training.epochs.more=1", "what holds 'more' has no keys"),
        ("=1", "expected key=value"),
        ("network.blocks.1.activation.bit=4", "Extra inputs"),
    ],
)
def test_a_bad_override_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipes.load(write(tmp_path, GOOD), [text])
    assert f"--set {text}" in str(caught.value)
    assert message in str(caught.value)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=200), st.integers(0, len(GOOD)).map(lambda n: GOOD[:n].encode()))
)
def test_any_file_is_a_recipe_or_a_recipe_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(data)
    try:
        assert isinstance(recipes.load(path), Recipe)
    except RecipeError as error:
        assert str(path) in str(error)
