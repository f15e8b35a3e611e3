"""Tasks: what all of them promise, and the exact bits of ``shapes``."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from tinyrobust import tasks
from tinyrobust.errors import TaskError
from tinyrobust.tasks import shapes

REAL_DATA = os.environ.get("TINYROBUST_DATA")


@pytest.mark.parametrize("name", tasks.names())
def test_a_task_describes_itself(name: str) -> None:
    task = tasks.get(name)
    assert task.name == name
    assert len(task.input_shape) == 3
    assert len(set(task.labels)) == len(task.labels) >= 2


def test_an_unknown_task_suggests_the_nearest() -> None:
    with pytest.raises(TaskError, match="did you mean 'shapes'"):
        tasks.get("shape")


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("train", "9aa19c177da9e37eb9c945daf2ea5dddb74f6dedfde87600325c0d77085b0e45"),
        ("test", "d42b7b5c7af3fc397ee8b85d8efb87556a48911dfb3f9d668a372e2bd7101a42"),
    ],
)
def test_shapes_are_these_bits_on_every_machine(split: tasks.Split, digest: str) -> None:
    images, labels = tasks.get("shapes").load(split, 200)
    assert images.dtype == np.uint8 and images.shape == (200, 32, 32, 3)
    assert labels.dtype == np.int64 and labels.shape == (200,)
    assert hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest() == digest


def test_shapes_splits_differ_and_a_limit_gives_the_first_ones() -> None:
    task = tasks.get("shapes")
    train, _ = task.load("train", 60)
    test, _ = task.load("test", 60)
    few, _ = task.load("train", 20)
    assert np.array_equal(few, train[:20])
    distinct = {image.tobytes() for image in np.concatenate([train, test])}
    assert len(distinct) == 120


def test_shapes_do_not_depend_on_how_many_are_asked_for() -> None:
    images, labels = tasks.get("shapes").load("test", 1003)
    one, label = shapes._render(np.array([shapes.COUNTS["train"] + 1002], np.uint64))
    assert np.array_equal(images[1002], one[0])
    assert labels[1002] == label[0]


def test_shapes_have_every_class_about_equally_often() -> None:
    _, labels = tasks.get("shapes").load("test", 4000)
    counts = np.bincount(labels, minlength=10)
    assert counts.min() > 300 and counts.max() < 500


def test_more_shapes_than_there_are_is_a_task_error() -> None:
    with pytest.raises(TaskError, match="4,000 test images"):
        tasks.get("shapes").load("test", 4001)


@pytest.mark.data
@pytest.mark.skipif(not REAL_DATA, reason="TINYROBUST_DATA is not set")
def test_the_real_cifar10_has_its_counts() -> None:
    images, labels = tasks.get("cifar10").load("test")
    assert images.shape == (10_000, 32, 32, 3)
    assert np.array_equal(np.bincount(labels), np.full(10, 1000))
    assert 110 < images.mean() < 130
