"""Copies, flips, re-encodings and crops are found; distinct images are not (B04)."""

import numpy as np
import pytest

from segduet.dataset.duplicates import SAME_IMAGE, similar_pairs
from segduet.dataset.phantoms.ultrasound import NerveUltrasoundConfig, generate_nerve_case
from segduet.dataset.thumbnails import resized, thumbnail

NUM_PHANTOMS = 40
CONFIG = NerveUltrasoundConfig(
    shape_yx=(72, 80), nerve_share=0.06, speckle_axial_px=0.5, speckle_lateral_px=1.0
)


def small(case, picture):
    found = thumbnail(case, np.asarray(picture)[None, None])
    assert found is not None
    return found


def alike(first, second):
    return bool(similar_pairs([small("a", first), small("b", second)]))


@pytest.fixture(scope="module")
def phantoms():
    cases = range(NUM_PHANTOMS)
    return [generate_nerve_case(CONFIG, nerve_class=i % 3, seed=i).image for i in cases]


def reencoded(picture, seed):
    """Another intensity scale, noise and 8 bits."""
    noise = np.random.default_rng(seed).normal(0, 6, picture.shape)
    return np.clip(np.rint(0.6 * picture + 20 + noise), 0, 255).astype(np.uint8)


def cropped(picture, seed):
    """Up to 10 % off every side."""
    height, width = picture.shape
    top, bottom, left, right = np.random.default_rng(seed).uniform(0, 0.1, 4)
    rows = slice(round(top * height), height - round(bottom * height))
    return picture[rows, round(left * width) : width - round(right * width)]


def enlarged_crop(picture, seed):
    """A crop brought back to the size of the whole."""
    return resized(cropped(picture, seed)[None], (1, *picture.shape))[0]


@pytest.mark.parametrize(
    ("change", "least"),
    [
        (lambda p, _: p, 1.0),
        (lambda p, _: p[::-1], 1.0),
        (lambda p, _: p[:, ::-1], 1.0),
        (lambda p, _: p[::-1, ::-1], 1.0),
        (reencoded, 1.0),
        (cropped, 0.95),
        (enlarged_crop, 0.95),
    ],
    ids=["copy", "flip y", "flip x", "flip both", "re-encode", "crop", "enlarged crop"],
)
def test_planted_duplicates_are_found(phantoms, change, least):
    """B04: copies, flips, re-encodings 100 %, small crops at least 95 %."""
    found = [alike(phantom, change(phantom, seed)) for seed, phantom in enumerate(phantoms)]
    assert np.mean(found) >= least


def test_distinct_phantoms_are_not_alike(phantoms):
    assert similar_pairs([small(f"{i:02d}", p) for i, p in enumerate(phantoms)]) == ()


def test_one_pair_is_found_among_many_whatever_the_order(phantoms):
    cases = [small(f"{i:02d}", p) for i, p in enumerate(phantoms[:6])]
    cases.append(small("copy", phantoms[3][:, ::-1]))
    (pair,) = similar_pairs(cases)
    assert (pair.first, pair.second) == ("03", "copy")
    assert SAME_IMAGE <= pair.correlation <= 1
    assert similar_pairs(cases[::-1], workers=2) == (pair,)


def test_comparing_in_blocks_finds_the_same(phantoms, monkeypatch):
    cases = [small(f"{i:02d}", p) for i, p in enumerate([*phantoms[:5], phantoms[1][::-1]])]
    whole = similar_pairs(cases)
    monkeypatch.setattr("segduet.dataset.duplicates._BLOCK", 2)
    assert similar_pairs(cases) == whole
    assert [(p.first, p.second) for p in whole] == [("01", "05")]


def test_layers_across_the_image_do_not_make_two_images_alike():
    """What lies across every ultrasound image is no sign of a copy; without it they would be."""
    rng = np.random.default_rng(0)
    layers = np.repeat(rng.normal(size=(16, 1)), 4, axis=0)
    first, second = (
        2 * layers + resized(rng.normal(size=(1, 16, 16)), (1, 64, 64))[0] for _ in "ab"
    )
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.7
    assert not alike(first, second)
    assert alike(first, first + 3 * layers)


def test_whole_numbers_are_resized_like_fractions():
    picture = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    expected = [[[2.5, 4.5], [10.5, 12.5]]]
    np.testing.assert_allclose(resized(picture, (1, 2, 2)), expected)


def test_flipped_volume_is_found_and_another_is_not():
    rng = np.random.default_rng(0)
    blobs = [resized(rng.normal(size=(4, 8, 8)), (8, 40, 40)) for _ in range(2)]
    first, second = (thumbnail(case, blob[None]) for case, blob in zip("ab", blobs, strict=True))
    flip = thumbnail("c", 3 * blobs[0][None, ::-1, :, ::-1] - 100)
    assert [(p.first, p.second) for p in similar_pairs([first, second, flip])] == [("a", "c")]
    crop = thumbnail("d", blobs[1][None, :, 2:-2, 1:-3])
    assert [(p.first, p.second) for p in similar_pairs([first, second, crop])] == [("b", "d")]


@pytest.mark.parametrize(
    "picture", [np.zeros((32, 32)), np.full((32, 32), 7.1), np.eye(31)], ids=["0", "7.1", "small"]
)
def test_constant_and_tiny_images_are_not_compared(picture):
    assert thumbnail("a", picture[None, None]) is None
