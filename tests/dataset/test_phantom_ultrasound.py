"""F11: the nerve phantom has speckle, patient styles, and a class that area does not give away."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score

from segduet.core.errors import RequestError
from segduet.dataset.phantoms.ultrasound import (
    NerveUltrasoundConfig,
    draw_patient_style,
    generate_nerve_case,
    rayleigh_speckle,
)

DEMO = NerveUltrasoundConfig.demo()


def _features(phantom):
    """Aspect of the true nerve, its dark spots, and how dark it is beside, below and above it."""
    y, x = np.nonzero(phantom.mask)
    covariance = np.linalg.eigvalsh(np.cov(np.stack([y, x])))
    smooth = ndimage.gaussian_filter(phantom.image.astype(float), 1.0)
    inside = ndimage.binary_erosion(phantom.mask, iterations=2)
    dark = (smooth < smooth[inside].mean()) & inside
    height, width = y.max() - y.min(), x.max() - x.min()
    beside = np.r_[max(0, x.min() - width // 3) : x.min(), x.max() : min(127, x.max() + width // 3)]
    below = slice(y.max() + 2, y.max() + 2 + height // 2)
    above = slice(max(0, y.min() - height), y.min())
    return [
        np.sqrt(covariance[1] / covariance[0]),
        ndimage.label(dark)[1],
        dark.sum() / inside.sum(),
        np.percentile(smooth[y.min() : y.max()][:, beside], 10),
        smooth[below, x.min() : x.max()].mean(),
        smooth[above, max(0, x.min() - width // 4) : x.max() + width // 4].mean(),
    ]


def _accuracy(config, num_images=60):
    images = [generate_nerve_case(config, nerve_class=i % 3, seed=i) for i in range(num_images)]
    features = np.array([_features(p) for p in images])
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return cross_val_score(model, features, [p.nerve_class for p in images], cv=5).mean()


def test_same_arguments_give_the_same_image():
    """F11: deterministic per seed."""
    first, again, other = (generate_nerve_case(DEMO, nerve_class=2, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert (first.image != other.image).mean() > 0.5


def test_image_and_mask_are_what_a_reader_expects():
    phantom = generate_nerve_case(NerveUltrasoundConfig(), nerve_class=0, seed=0)
    assert phantom.image.dtype == phantom.mask.dtype == np.uint8
    assert phantom.image.shape == phantom.mask.shape == (256, 256)
    assert set(np.unique(phantom.mask)) == {0, 1}
    assert phantom.image.std() > 25
    assert np.mean(phantom.image == 255) < 0.05


def test_speckle_amplitude_is_rayleigh_distributed():
    """Fully developed speckle: mean / sd = sqrt(pi / (4 - pi)) = 1.913, mean square 1."""
    speckle = rayleigh_speckle((256, 256), 0.8, 1.8, np.random.default_rng(0))
    assert np.mean(speckle**2) == pytest.approx(1.0)
    assert speckle.mean() / speckle.std() == pytest.approx(1.913, rel=0.05)


def test_speckle_is_wider_than_it_is_deep():
    speckle = rayleigh_speckle((256, 256), 0.8, 1.8, np.random.default_rng(0))
    centred = speckle - speckle.mean()
    axial, lateral = ((centred * np.roll(centred, 2, axis)).mean() for axis in (0, 1))
    assert lateral > 2 * abs(axial)


def test_attenuation_darkens_the_depth():
    near, far = (
        generate_nerve_case(replace(DEMO, attenuation_db=a), nerve_class=0, seed=3).image
        for a in (4.0, 24.0)
    )
    rows = slice(70, 90)
    assert far[rows].mean() < near[rows].mean() - 20
    assert far[:4].mean() == pytest.approx(near[:4].mean(), abs=3)


def test_area_of_the_nerve_does_not_depend_on_its_class():
    """F11: classes of one seed have the same number of nerve pixels."""
    for seed in range(4):
        areas = {
            int(generate_nerve_case(DEMO, nerve_class=k, seed=seed).mask.sum()) for k in range(3)
        }
        assert len(areas) == 1


def test_fascicles_shape_and_neighbours_tell_the_class_less_so_when_difficult():
    """F11: the cue is real, and difficulty takes it away."""
    easy = _accuracy(DEMO)
    hard = _accuracy(replace(DEMO, difficulty=0.95))
    assert easy >= 0.8
    assert hard <= easy - 0.2


def test_at_difficulty_one_the_classes_of_a_seed_are_the_same_image():
    config = replace(DEMO, difficulty=1.0)
    first, *others = (generate_nerve_case(config, nerve_class=k, seed=5).image for k in range(3))
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_style_is_the_patients_and_gain_brightens_every_image():
    style = draw_patient_style(DEMO, seed=1)
    louder = replace(style, gain_db=style.gain_db + 5)
    for seed in range(3):
        plain, loud = (
            generate_nerve_case(DEMO, nerve_class=1, seed=seed, style=s).image.astype(int)
            for s in (style, louder)
        )
        # 5 dB of a range of 55 dB is 23 of 255 grey values, less where the image is cut off
        assert 10 < np.median(loud - plain) <= 24


def test_patients_differ_unless_their_spread_is_zero():
    assert draw_patient_style(DEMO, seed=1) != draw_patient_style(DEMO, seed=2)
    still = replace(DEMO, style_spread=0.0)
    assert draw_patient_style(still, seed=1) == draw_patient_style(still, seed=2)


def test_unknown_class_and_difficulty_are_refused():
    with pytest.raises(RequestError, match="nerve class"):
        generate_nerve_case(DEMO, nerve_class=3, seed=0)
    with pytest.raises(RequestError, match="difficulty"):
        NerveUltrasoundConfig(difficulty=-0.1)
