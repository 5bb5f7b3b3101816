"""Coarse-to-fine and the body crop on phantoms, with networks that can be worked out (F72, B13)."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.plan import Plan
from segduet.core.prediction import Prediction, RegionSource
from segduet.core.volume import Volume
from segduet.inference.cascade import predict_for_next_stage
from segduet.inference.coarse import CoarseLook, look_coarsely
from segduet.inference.engine import HeadAnswers, Member, WindowAnswers
from segduet.inference.predictor import predict_case
from segduet.inference.regional import RegionSearch, predict_in_region
from segduet.inference.settings import PredictionSettings

LABELS = LabelScheme.from_dataset_json({"background": 0, "organ": 1}, None, where="test")
SHAPE = (24, 60, 64)
AIR, TISSUE, ORGAN = -1000.0, 0.0, 200.0


@dataclass
class Threshold:
    """Foreground where the normalised image is above 1: no answer depends on its window."""

    name: str = "threshold"
    num_spatial_dims: int = 3
    calls: int = 0
    sees: bool = True

    def predict(self, windows, shares) -> WindowAnswers:
        self.calls += 1
        evidence = windows[:, :1] - (1 if self.sees else np.inf)
        evidence = np.nan_to_num(evidence, neginf=-9)
        return WindowAnswers(logits=np.concatenate([-evidence, evidence], axis=1))

    def answer(self, sums) -> HeadAnswers:
        return HeadAnswers(logits={}, features={})


@dataclass
class DependsOnWindow(Threshold):
    """Foreground where the image is high for its window, as after InstanceNorm."""

    def predict(self, windows, shares) -> WindowAnswers:
        means = windows.mean(axis=(1, 2, 3, 4), keepdims=True)
        return super().predict(windows + 3 * means, shares)


def plan_of(spacing=(1.0, 1.0, 1.0), patch=(16, 16, 16), transpose=(0, 1, 2)) -> Plan:
    configuration = {
        "data_identifier": "c",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [24.0, 60.0, 64.0],
        "spacing": list(spacing),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1},
        "architecture": {"network_class_name": "x", "arch_kwargs": {}},
        "batch_dice": False,
    }
    intensities = {
        "mean": 0.0,
        "std": 100.0,
        "percentile_00_5": -100.0,
        "percentile_99_5": 200.0,
    }
    return Plan.model_validate(
        {
            "dataset_name": "d",
            "plans_name": "p",
            "transpose_forward": transpose,
            "transpose_backward": tuple(int(i) for i in np.argsort(transpose)),
            "foreground_intensity_properties_per_channel": {"0": intensities},
            "configurations": {"c": configuration},
        }
    )


def organ(centre, radii, shape=SHAPE) -> np.ndarray:
    grid = np.indices(shape)
    parts = zip(grid, centre, radii, strict=True)
    return sum(((g - c) / r) ** 2 for g, c, r in parts) <= 1


def scan(mask: np.ndarray, spacing=(1.0, 1.0, 1.0)) -> Volume:
    """An organ in tissue that fills the image."""
    image = np.where(mask, ORGAN, TISSUE).astype(np.float32)[None]
    image[:, 0, 0, 0] = -1  # zero is no border to cut away
    image += np.float32(0.25)
    return Volume(array=image, geometry=Geometry(shape_zyx=mask.shape, spacing_zyx_mm=spacing))


@dataclass
class Bench:
    """A fine network and a coarse one, their calls counted."""

    volume: Volume
    plan: Plan = field(default_factory=plan_of)
    coarse_spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)
    fine: Threshold = field(default_factory=Threshold)
    coarse: Threshold = field(default_factory=Threshold)
    step: float = 0.5

    def look(self, volume, case, part) -> CoarseLook:
        plan = plan_of(self.coarse_spacing, (16, 32, 32), self.plan.transpose_forward)
        return look_coarsely(
            [Member(engine=self.coarse)], volume, case=case, plan=plan,
            configuration=plan.configuration("c"), labels=LABELS,
            settings=PredictionSettings(), region=part,
        )  # fmt: skip

    def in_region(self, region=None) -> Prediction:
        return predict_case(
            [Member(engine=self.fine)], self.volume, case="one", plan=self.plan,
            configuration=self.plan.configuration("c"), labels=LABELS,
            settings=PredictionSettings(step=self.step), region=region,
        )  # fmt: skip

    def run(self, *, crops_body=False, look=True, predict=None) -> Prediction:
        search = RegionSearch(
            plan=self.plan, configuration=self.plan.configuration("c"), step=self.step,
            crops_body=crops_body, look=self.look if look is True else look,
        )  # fmt: skip
        return predict_in_region(search, self.volume, "one", predict or self.in_region)


def test_the_fine_network_runs_on_the_organ_only_and_says_the_same() -> None:
    """F72: fewer calls, one coarse one or two, and the same label map, voxel for voxel."""
    mask = organ((12, 30, 20), (5, 6, 6))
    bench = Bench(volume=scan(mask))
    whole = bench.in_region()
    calls, bench.fine.calls = bench.fine.calls, 0
    found = bench.run()
    np.testing.assert_array_equal(found.label_map, whole.label_map)
    np.testing.assert_array_equal(found.label_map, mask)
    assert found.seen.found_by is RegionSource.COARSE
    assert found.seen.notes == ()
    assert bench.fine.calls < calls / 2
    assert 1 <= bench.coarse.calls <= 2
    assert found.seconds.keys() == {"region", "prepare", "network", "restore"}


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_the_box_is_told_along_the_axes_of_the_image(transpose) -> None:
    mask = organ((12, 44, 14), (5, 6, 6))
    bench = Bench(volume=scan(mask), plan=plan_of(transpose=transpose))
    found = bench.run()
    np.testing.assert_array_equal(found.label_map, mask)
    for (start, stop), where in zip(found.seen.box, np.nonzero(mask), strict=True):
        assert start <= where.min() - 4 or start == 0
        assert stop > where.max() + 4 or stop == 24
    assert found.seen.box[1][0] > 10
    assert found.seen.box[2][1] < 50


@pytest.mark.parametrize("seed", range(12))
def test_the_region_holds_the_organ(seed: int) -> None:
    """F72: at least 99.9 % of the reference, wherever it lies and however large the voxels are."""
    generator = np.random.default_rng(seed)
    radii = generator.uniform(3, 7, 3)
    centre = [generator.uniform(r, n - r) for r, n in zip(radii, SHAPE, strict=True)]
    spacing = tuple(float(s) for s in generator.uniform(0.7, 1.5, 3))
    mask = organ(centre, radii)
    bench = Bench(volume=scan(mask, spacing), plan=plan_of(), coarse_spacing=(3.0, 2.5, 2.5))
    found = bench.run()
    assert found.seen.found_by is RegionSource.COARSE
    inside = mask[tuple(slice(*axis) for axis in found.seen.box)]
    assert inside.sum() >= 0.999 * mask.sum()


def test_where_the_windows_coincide_any_network_answers_the_same() -> None:
    """F72: also one whose answer depends on its window; windows of 16 that do not overlap."""
    mask = organ((8, 24, 24), (5, 6, 6), (16, 32, 32))
    plan = plan_of()
    bench = Bench(volume=scan(mask), plan=plan, fine=DependsOnWindow(), step=1.0)
    region = ((0, 16), (16, 32), (16, 32))
    whole, part = bench.in_region().label_map, bench.in_region(region).label_map
    np.testing.assert_array_equal(part[:, 16:, 16:], whole[:, 16:, 16:])
    assert part[:, 16:, 16:].any()
    assert not part[:, :16].any()
    shifted = bench.in_region(((0, 16), (12, 28), (12, 28))).label_map
    assert (shifted[:, 12:28, 12:28] != whole[:, 12:28, 12:28]).any()


def test_a_coarse_network_that_sees_nothing_leaves_the_whole_image() -> None:
    """F72: fallback on empty, and it is said."""
    mask = organ((12, 30, 20), (5, 6, 6))
    bench = Bench(volume=scan(mask), coarse=Threshold(sees=False))
    found = bench.run()
    np.testing.assert_array_equal(found.label_map, mask)
    assert found.seen.found_by is RegionSource.WHOLE
    assert found.seen.box == ((0, 24), (0, 60), (0, 64))
    assert found.seen.notes == ("the coarse network found no foreground: region not narrowed",)


def test_a_fine_network_that_sees_nothing_in_the_region_looks_at_the_whole_image() -> None:
    mask = organ((12, 30, 20), (5, 6, 6))
    bench = Bench(volume=scan(mask), fine=Threshold(sees=False))
    found = bench.run()
    assert not found.label_map.any()
    assert found.seen.found_by is RegionSource.WHOLE
    assert found.seen.notes == ("no foreground where the coarse network found some: whole image",)
    bench.fine.calls, calls = 0, bench.fine.calls
    bench.in_region()
    assert calls > bench.fine.calls


def test_a_region_that_saves_nothing_is_not_taken() -> None:
    """An organ that fills the image; an image that is one window gets no coarse look at all."""
    large = Bench(volume=scan(organ((12, 30, 32), (11, 29, 31))))
    found = large.run()
    assert found.seen.found_by is RegionSource.WHOLE
    assert found.seen.notes == ("what the coarse network found saves no window: not narrowed",)
    small = Bench(volume=scan(organ((8, 8, 8), (4, 4, 4), (16, 16, 16))))
    assert small.run().seen.notes == ("one window holds everything: no coarse look",)
    assert (small.coarse.calls, small.fine.calls) == (0, 1)


def look_at(box) -> object:
    """A coarse look that sees exactly a box, on the grid of the image."""

    def look(volume, case, part) -> CoarseLook:
        label_map = np.zeros(SHAPE, np.uint8)
        label_map[tuple(slice(*axis) for axis in box)] = 1
        bench = Bench(volume=volume, coarse_spacing=(1.0, 1.0, 1.0))
        placement = bench.look(volume, case, ((0, 24), (0, 60), (0, 64))).placement
        return CoarseLook(label_map=label_map, placement=placement)

    return look


def test_foreground_at_the_edge_of_the_region_moves_the_edge_once() -> None:
    """F72: the coarse network saw two thirds of the organ; half a patch further out is the rest."""
    mask = organ((12, 30, 30), (5, 6, 18))
    bench = Bench(volume=scan(mask), plan=plan_of(patch=(16, 16, 12)))
    found = bench.run(look=look_at(((8, 16), (25, 35), (12, 36))))
    np.testing.assert_array_equal(found.label_map, mask)
    assert found.seen.found_by is RegionSource.COARSE
    assert found.seen.box[2] == (2, 36 + 10 + 6)
    assert found.seen.notes == (
        "foreground touches the edge of the region: predicted again, grown",
    )


def test_foreground_beyond_the_grown_region_takes_the_whole_image() -> None:
    mask = organ((12, 30, 32), (4, 4, 30))
    bench = Bench(volume=scan(mask), plan=plan_of(patch=(16, 16, 8)))
    found = bench.run(look=look_at(((10, 14), (28, 32), (30, 33))))
    np.testing.assert_array_equal(found.label_map, mask)
    assert found.seen.found_by is RegionSource.WHOLE
    assert found.seen.notes == (
        "foreground touches the edge of the region: predicted again, grown",
        "foreground touches the edge of the grown region: whole image",
    )


def body_scan() -> tuple[Volume, np.ndarray]:
    """A body of 24 x 34 in air, with an organ."""
    mask = organ((12, 30, 24), (5, 6, 6))
    volume = scan(mask)
    inside = np.zeros(SHAPE, bool)
    inside[:, 20:44, 10:44] = True
    volume.array[0, ~inside] = AIR
    return volume, mask


def test_the_body_crop_saves_windows_and_changes_nothing_inside() -> None:
    """F72: the air around is background; each switch acts by itself and together."""
    volume, mask = body_scan()
    calls = {}
    for crops_body, look in ((False, None), (True, None), (False, True), (True, True)):
        bench = Bench(volume=volume)
        found = bench.run(crops_body=crops_body, look=look)
        np.testing.assert_array_equal(found.label_map, mask)
        calls[crops_body, look] = bench.fine.calls + bench.coarse.calls / 8  # of 8 times the size
    assert calls[True, None] < calls[False, None]
    assert calls[False, True] < calls[True, None]
    assert calls[True, True] <= calls[False, True]
    found = Bench(volume=volume).run(crops_body=True, look=None)
    assert found.seen.found_by is RegionSource.BODY
    (y0, y1), (x0, x1) = found.seen.box[1:]
    assert 0 < y0 <= 20 - 10
    assert 44 + 10 <= y1 < 60
    assert (x0, x1 >= 54, x1 < 64) == (0, True, True)


def test_a_ct_of_air_is_not_cropped() -> None:
    volume, _ = body_scan()
    volume.array[...] = AIR
    found = Bench(volume=volume).run(crops_body=True, look=None)
    assert found.seen.found_by is RegionSource.WHOLE
    assert found.seen.notes == ("no body found in the CT: not cropped to it",)


def test_a_body_that_fills_the_image_is_not_cropped() -> None:
    found = Bench(volume=scan(organ((12, 30, 20), (5, 6, 6)))).run(crops_body=True, look=None)
    assert found.seen.notes == ("a crop to the body saves no window: not cropped to it",)


def test_both_stages_of_a_cascade_look_at_the_same_region() -> None:
    """F14, F72: what the first stage hands on lies on the grid of the second's prepared region."""
    volume, mask = body_scan()
    plan = plan_of()
    first = plan_of((2.0, 2.0, 2.0)).configuration("c")
    region = ((0, 24), (9, 56), (0, 54))
    handed_on = predict_for_next_stage(
        [Member(engine=Threshold())], volume, case="one", plan=plan, configuration=first,
        next_configuration=plan.configuration("c"), labels=LABELS,
        settings=PredictionSettings(), region=region,
    )  # fmt: skip
    assert handed_on.shape == (24, 47, 54)
    found, wanted = handed_on == 1, mask[tuple(slice(*axis) for axis in region)]
    assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.9
