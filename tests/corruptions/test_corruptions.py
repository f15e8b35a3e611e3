"""Corruptions: the fifteen kinds, the same bits everywhere, and what each promises."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from tinyrobust import corruptions, tasks
from tinyrobust.corruptions import STRENGTHS, corrupt
from tinyrobust.corruptions._kind import ONE, filtered, fixed, gaussian, kernel, normal, sampled
from tinyrobust.corruptions.digital import _cosines, _resized
from tinyrobust.corruptions.noise import _poisson
from tinyrobust.errors import TinyRobustError

KINDS = (
    "gaussian_noise", "impulse_noise", "shot_noise", "defocus_blur", "glass_blur", "motion_blur",
    "zoom_blur", "brightness", "fog", "frost", "snow", "contrast", "elastic", "jpeg", "pixelate",
)  # fmt: skip
# Of pictures() at strengths 1 to 5, one after the other.
HASHES = {
    "gaussian_noise": "6369c4862a2189a5",
    "impulse_noise": "71c8e463a2cb808b",
    "shot_noise": "7e122ae2aa433890",
    "defocus_blur": "f55314d12d4611c0",
    "glass_blur": "b4ae26fdbfcceab7",
    "motion_blur": "db7df2b0c792a617",
    "zoom_blur": "906619361a6b75de",
    "brightness": "0c78f1eeae8f83cb",
    "fog": "e7d2990378852fd2",
    "frost": "7ff170e5c597f92a",
    "snow": "41940efb7a729ae2",
    "contrast": "7dd18826b03e4938",
    "elastic": "b4d2ce14fa2dc76b",
    "jpeg": "81b1796f862f91f1",
    "pixelate": "289c5ae011c5a949",
}


def pictures() -> Any:
    """Two pictures: of the shapes task, and one of noise."""
    shapes, _ = tasks.get("shapes").load("test", 1)
    noise = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    return np.concatenate([shapes, noise])


def digest(name: str) -> str:
    made = [corrupt(name, pictures(), strength, seed=3) for strength in STRENGTHS]
    return hashlib.sha256(b"".join(m.tobytes() for m in made)).hexdigest()[:16]


def test_there_are_the_fifteen_kinds_of_the_paper() -> None:
    assert tuple(corruptions.names()) == KINDS
    assert {corruptions.get(name).group for name in KINDS} == set(corruptions.GROUPS)


@pytest.mark.parametrize("name", KINDS)
def test_the_bits_are_the_same_everywhere(name: str) -> None:
    assert digest(name) == HASHES[name]


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_changes_images_more_when_stronger(name: str) -> None:
    images, _ = tasks.get("shapes").load("test", 12)
    before = images.copy()
    far = []
    for strength in STRENGTHS:
        made = corrupt(name, images, strength)
        assert made.dtype == np.uint8 and made.shape == images.shape
        far.append(float(np.abs(made.astype(int) - images).mean()))
    assert (images == before).all()
    # Frosted glass exchanges every pixel at any strength, and blurs more; a stretched film is first
    # bent as a whole, then torn in small.
    least = {"glass_blur": 0.9, "elastic": 0.3}.get(name, 1.0)
    assert far[0] > 0 and far[4] > least * far[0]


@pytest.mark.parametrize("name", KINDS)
def test_an_image_depends_on_its_number_alone(name: str) -> None:
    images = np.repeat(pictures()[:1], 3, axis=0)
    whole = corrupt(name, images, 3, seed=5)
    for i in range(3):
        assert (corrupt(name, images[i : i + 1], 3, seed=5, first=i)[0] == whole[i]).all()


@pytest.mark.parametrize("name", ["gaussian_noise", "jpeg", "elastic", "brightness", "snow"])
def test_one_channel_and_odd_sizes_are_taken(name: str) -> None:
    images = np.random.default_rng(2).integers(0, 256, (1, 13, 20, 1)).astype(np.uint8)
    assert corrupt(name, images, 5).shape == images.shape


def test_what_is_no_image_or_kind_or_strength_is_refused() -> None:
    with pytest.raises(TinyRobustError, match="no corruption 'fogg'"):
        corrupt("fogg", pictures(), 1)
    with pytest.raises(TinyRobustError, match="strength 6"):
        corrupt("fog", pictures(), 6)
    with pytest.raises(TinyRobustError, match="take uint8"):
        corrupt("fog", pictures().astype(np.float32), 1)


# -- the arithmetic --------------------------------------------------------------------------


def test_noise_has_the_moments_that_it_should() -> None:
    drawn = normal(np.random.default_rng(0), (200_000,)) / ONE
    assert abs(drawn.mean()) < 0.01 and abs(drawn.std() - 1) < 0.01
    grey = np.full((1, 64, 64, 3), 128, np.uint8)
    for photons, strength in ((500, 1), (50, 5)):
        made = corrupt("shot_noise", grey, strength)[0].astype(float)
        assert abs(made.mean() - 128) < 2
        assert made.std() == pytest.approx(255 * (128 / 255 / photons) ** 0.5, rel=0.06)
    assert (_poisson(60)[:, -1] == 1 << 32).all()
    lost = corrupt("impulse_noise", grey, 5)[0]
    assert ((lost == 0).mean(), (lost == 255).mean()) == pytest.approx((0.035, 0.035), abs=0.006)


def test_blurs_keep_a_plain_image_and_its_brightness() -> None:
    plain = np.full((1, 32, 32, 3), 77, np.uint8)
    for name in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "pixelate", "elastic",
                 "contrast"):  # fmt: skip
        assert (corrupt(name, plain, 5) == 77).all(), name
    weights = kernel(gaussian(1.3, 3))
    assert weights.sum() == ONE
    x = fixed(np.random.default_rng(0).integers(0, 256, (9, 9, 2)).astype(np.uint8))
    middle = filtered(x, weights)[4, 4]
    wanted = (weights[..., None] * x[1:8, 1:8]).sum(axis=(0, 1)) / ONE
    assert np.abs(middle - wanted).max() <= 1


def test_sampling_at_whole_pixels_is_the_image_and_between_is_the_mean() -> None:
    x = fixed(np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype(np.uint8))
    rows, columns = (
        np.asarray(a, np.int64) * ONE for a in np.meshgrid(range(6), range(7), indexing="ij")
    )
    assert (sampled(x, rows, columns) == x).all()
    half = sampled(x, rows[:5] + ONE // 2, columns[:5])
    assert np.abs(half - (x[:5] + x[1:]) / 2).max() <= 1


def test_areas_are_means() -> None:
    x = fixed(np.arange(6, dtype=np.uint8).reshape(6, 1, 1))
    assert (_resized(x, 0, 3)[:, 0, 0] / ONE).tolist() == [0.5, 2.5, 4.5]
    assert (_resized(x, 0, 4)[:, 0, 0] / ONE) == pytest.approx(
        [1 / 3, 5 / 3, 10 / 3, 14 / 3], abs=1e-4
    )


def test_jpeg_is_a_cosine_transform_that_forgets() -> None:
    c = _cosines() / (1 << 13)
    assert np.abs(c @ c.T - np.eye(8)).max() < 1e-3
    plain = np.full((1, 16, 16, 3), 128, np.uint8)
    assert (corrupt("jpeg", plain, 5) == 128).all()
    ramp = np.broadcast_to(np.arange(0, 256, 16, dtype=np.uint8)[:, None, None], (16, 16, 3))
    made = corrupt("jpeg", ramp[None].copy(), 1)[0].astype(int)
    assert np.abs(made - ramp).max() <= 12


def test_bright_keeps_hue_and_dark_pixels_become_grey() -> None:
    image = np.array([[[[100, 50, 0], [0, 0, 0]]]], np.uint8)
    made = corrupt("brightness", image, 1)[0, 0]
    assert made.tolist() == [[113, 57, 0], [13, 13, 13]]
