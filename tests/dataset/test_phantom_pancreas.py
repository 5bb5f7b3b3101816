"""F11: the pancreas phantom is deterministic, has the quiz's statistics, and an honest subtype."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score

from segduet.core.errors import RequestError
from segduet.dataset.phantoms.pancreas import (
    PancreasPhantomConfig,
    draw_pancreas_parameters,
    generate_pancreas_case,
)

DEMO = PancreasPhantomConfig.demo()
QUIZ = PancreasPhantomConfig.quiz()
#: The demo preset on a grid with half as many voxels.
MEDIUM = replace(DEMO, spacing_z_mm=(4.0,) * 7, spacing_inplane_mm=(1.9,) * 7,
                 min_shape_zyx=(8, 16, 16))  # fmt: skip
COARSE = replace(
    DEMO, spacing_z_mm=(6.0,) * 7, spacing_inplane_mm=(4.0,) * 7, min_shape_zyx=(8, 16, 16)
)


def _accuracy(features, subtypes):
    """Mean five-fold accuracy of linear discriminant analysis."""
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return float(cross_val_score(model, features, subtypes, cv=5).mean())


def _visible_features(case):
    """Spread, graininess and rim of the true lesion, and how round it is."""
    around = ndimage.find_objects(case.label_map)[1]
    lesion = case.label_map[around] == 2
    spacing = case.geometry.spacing_zyx_mm
    image = case.image[around].astype(float)
    inner = ndimage.distance_transform_edt(np.pad(lesion, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    values, depth = image[lesion], inner[lesion]
    middle = np.median(depth)
    coarse = ndimage.gaussian_filter(image, [4.0 / s for s in spacing])
    faces = sum(
        np.abs(np.diff(np.pad(lesion, 1).astype(int), axis=a)).sum() / spacing[a] for a in range(3)
    )
    surface_mm2 = faces * np.prod(spacing)
    return [
        values.std(),
        (values - coarse[lesion]).std() / values.std(),
        values[depth < middle].mean() - values[depth >= middle].mean(),
        surface_mm2 / (lesion.sum() * np.prod(spacing)) ** (2 / 3),
    ]


def _accuracy_of_what_is_seen(config, num_cases=45):
    cases = [generate_pancreas_case(config, subtype=i % 3, seed=i) for i in range(num_cases)]
    features = [_visible_features(c) for c in cases]
    return _accuracy(np.array(features), np.array([c.subtype for c in cases]))


def test_same_seed_gives_the_same_case_and_another_seed_another_one():
    """F11: deterministic per seed."""
    first, again, other = (generate_pancreas_case(COARSE, subtype=1, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.label_map, again.label_map)
    assert first.image.shape != other.image.shape or (first.image != other.image).any()


def test_case_has_both_labels_on_one_grid():
    case = generate_pancreas_case(COARSE, subtype=2, seed=1)
    assert case.image.dtype == np.int16
    assert case.label_map.dtype == np.uint8
    assert case.image.shape == case.label_map.shape == case.geometry.shape_zyx
    assert case.geometry.spacing_zyx_mm == (6.0, 4.0, 4.0)
    assert set(np.unique(case.label_map)) == {0, 1, 2}
    assert case.image[case.label_map == 1].mean() > 60
    assert np.median(case.image[case.label_map == 0]) < 0


@pytest.mark.parametrize("subtype", [0, 1, 2])
def test_lesion_has_the_drawn_volume_whatever_its_subtype(subtype):
    """F11: volumes are drawn before the subtype is known, and kept to the voxel."""
    parameters = draw_pancreas_parameters(COARSE, seed=11)
    case = generate_pancreas_case(COARSE, subtype=subtype, seed=11)
    voxel_mm3 = np.prod(case.geometry.spacing_zyx_mm)
    assert (case.label_map == 2).sum() == round(parameters.lesion_mm3 / voxel_mm3)


def test_volume_alone_does_not_tell_the_subtype():
    """F11: at chance within its 95 % interval over 300 cases with seeds of their own."""
    subtypes = np.arange(300) % 3
    volumes = [draw_pancreas_parameters(QUIZ, seed=1000 + i).lesion_mm3 for i in range(300)]
    features = np.stack([volumes, np.log(volumes)], axis=1)
    chance, half_interval = 1 / 3, 1.96 * np.sqrt(2 / 9 / 300)
    assert abs(_accuracy(features, subtypes) - chance) < half_interval


def test_texture_and_outline_tell_the_subtype_less_so_when_difficult():
    """F11: the cue is real, and difficulty takes it away."""
    easy = _accuracy_of_what_is_seen(MEDIUM)
    hard = _accuracy_of_what_is_seen(replace(MEDIUM, difficulty=0.95), num_cases=30)
    assert easy >= 0.85
    assert hard <= easy - 0.2


def test_at_difficulty_one_the_subtypes_of_a_seed_are_the_same_image():
    """F11: the null phantom, on which every honest classifier is at chance."""
    twins = [
        generate_pancreas_case(replace(COARSE, difficulty=1.0), subtype=s, seed=3) for s in range(3)
    ]
    for twin in twins[1:]:
        np.testing.assert_array_equal(twin.image, twins[0].image)
        np.testing.assert_array_equal(twin.label_map, twins[0].label_map)


def test_twins_differ_in_the_lesion_only():
    smooth, grainy = (generate_pancreas_case(DEMO, subtype=s, seed=8) for s in (0, 1))
    lesions = (smooth.label_map == 2) | (grainy.label_map == 2)
    # the point spread function reaches two voxels
    near = ndimage.binary_dilation(lesions, np.ones((5, 5, 5)))
    np.testing.assert_array_equal(smooth.image[~near], grainy.image[~near])
    assert (smooth.image != grainy.image).any()


def test_mean_hu_of_the_lesion_does_not_depend_on_the_subtype():
    """The spread within twins stays far below the spread between cases (texture is zero-mean)."""
    means = np.array(
        [
            [
                case.image[case.label_map == 2].mean()
                for case in (generate_pancreas_case(DEMO, subtype=s, seed=seed) for s in range(3))
            ]
            for seed in range(4)
        ]
    )
    assert np.abs(means[:, 1] - means[:, 0]).max() < 8
    assert np.abs(means[:, 2] - means[:, 0]).max() < 8


def test_texture_only_signal_gives_all_subtypes_one_outline():
    config = replace(DEMO, subtype_signal="texture")
    smooth, grainy = (generate_pancreas_case(config, subtype=s, seed=4) for s in (0, 1))
    np.testing.assert_array_equal(smooth.label_map, grainy.label_map)
    lesion = smooth.label_map == 2
    assert grainy.image[lesion].std() > 1.5 * smooth.image[lesion].std()
    both = [generate_pancreas_case(DEMO, subtype=s, seed=4).label_map for s in (0, 1)]
    assert (both[0] != both[1]).any()


def test_quiz_preset_has_the_sizes_of_the_quiz():
    """F11, reference/seeds.md 0.2: spacing, shape, and shares of the ROI."""
    drawn = [draw_pancreas_parameters(QUIZ, seed=s) for s in range(1500)]
    shapes, spacings = (
        np.array([getattr(d, name) for d in drawn]) for name in ("shape_zyx", "spacing_zyx_mm")
    )
    levels = (5, 25, 50, 75, 95)
    expected = (
        (spacings[:, 0], (0.7, 1.0, 2.0, 3.0, 4.0)),
        (spacings[:, 1], (0.56, 0.68, 0.73, 0.78, 0.89)),
        (shapes[:, 0], (37, 49, 63, 100, 142)),
        (shapes[:, 1], (86, 103, 119, 136, 166)),
        (shapes[:, 2], (134, 162, 179, 200, 243)),
    )
    for found, quantiles in expected:
        np.testing.assert_allclose(np.percentile(found, levels), quantiles, rtol=0.2)
    share = np.array([d.lesion_mm3 / np.prod(d.roi_mm) for d in drawn])
    assert np.median(share) == pytest.approx(0.0053, rel=0.12)
    assert 1e-5 <= share.min() < 3e-5


def test_quiz_preset_has_the_intensities_of_the_quiz():
    """F11, reference/seeds.md 0.2: organ 5.7 % of the ROI, foreground HU 74 +- 44.

    The spread between cases is added as its known variance, since a few cases would scatter it.
    """
    config = replace(
        QUIZ,
        spacing_z_mm=(3.0,) * 7,
        spacing_inplane_mm=(1.0,) * 7,
        parenchyma_sd_hu=0.0,
    )
    cases = [generate_pancreas_case(config, subtype=i % 3, seed=i) for i in range(9)]
    foreground = np.concatenate([c.image[c.label_map > 0] for c in cases]).astype(float)
    assert foreground.mean() == pytest.approx(74, abs=5)
    assert np.hypot(foreground.std(), QUIZ.parenchyma_sd_hu) == pytest.approx(44, abs=4)
    assert np.mean([(c.label_map > 0).mean() for c in cases]) == pytest.approx(0.057, abs=0.008)


@pytest.mark.parametrize("subtype", [-1, 3])
def test_unknown_subtype_is_refused(subtype):
    with pytest.raises(RequestError, match="subtype"):
        generate_pancreas_case(COARSE, subtype=subtype, seed=0)


def test_difficulty_outside_its_range_is_refused():
    with pytest.raises(RequestError, match="difficulty"):
        PancreasPhantomConfig.demo(difficulty=1.5)
