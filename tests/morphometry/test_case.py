"""B07: everything measured on one image, by name."""

import numpy as np
import pytest

from segduet.core.errors import RequestError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.morphometry.case import MeasurePlan, measure_case

LABELS = LabelScheme.from_dataset_json({"background": 0, "MYO": 1, "LV": 2}, None, where="here")
GRID = Geometry(shape_zyx=(2, 40, 40), spacing_zyx_mm=(10.0, 1.0, 1.0))


def heart() -> np.ndarray:
    y, x = np.mgrid[:40, :40] - 19.5
    radius = np.hypot(y, x)
    return np.stack([np.where(radius <= 8, 2, np.where(radius <= 14, 1, 0))] * 2).astype(np.uint8)


def test_names_say_region_measure_and_unit() -> None:
    image = np.random.default_rng(0).normal(size=(1, 2, 40, 40))
    plan = MeasurePlan(labels=LABELS, walls=(("MYO", "LV"),))
    found = measure_case(heart(), GRID, plan, image)
    lv_voxels = int((heart() == 2).sum())
    assert found["LV.volume_ml"].value == pytest.approx(lv_voxels * 0.01)
    assert found["MYO.thickness_mean_mm"].value == pytest.approx(6.0, abs=0.5)
    assert found["MYO-LV.centroid_distance_mm"].value == pytest.approx(0.0, abs=1e-9)
    assert found["LV.intensity0_mean"].value == pytest.approx(image[0][heart() == 2].mean())


def test_names_do_not_depend_on_what_is_empty() -> None:
    plan = MeasurePlan(labels=LABELS, walls=(("MYO", "LV"),))
    empty = measure_case(np.zeros_like(heart()), GRID, plan)
    assert list(empty) == list(measure_case(heart(), GRID, plan))
    assert empty["LV.volume_ml"].value == 0.0
    assert all(s.reason for s in empty.values() if s.value is None)


@pytest.mark.parametrize(
    ("walls", "said"), [(("MYO", "RV"), "no region 'RV'"), (("LV", "LV"), "one region for both")]
)
def test_a_wall_of_unknown_regions_is_refused(walls: tuple[str, str], said: str) -> None:
    with pytest.raises(RequestError, match=rf"found {said}.*Name the wall"):
        MeasurePlan(labels=LABELS, walls=(walls,))
