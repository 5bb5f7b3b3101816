"""F68: what stays in float is chosen on the cases that calibrate, by the masks they get."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.prediction import Prediction
from segduet.evaluation.gate_report import FloatParts
from segduet.workflows.int8_rehearsal import Rehearsal, chosen_parts, wanted_agreement

_LABELS = LabelScheme.from_dataset_json({"background": 0, "organ": 1, "cyst": 2}, None, where="t")
_GEOMETRY = Geometry(shape_zyx=(1, 2, 4), spacing_zyx_mm=(999.0, 1.0, 1.0), num_spatial_dims=2)


class _Answering:
    """A model that answers what it is given, and counts how often it is asked."""

    def __init__(self, *, segments=True, **masks):
        self.model = SimpleNamespace(labels=_LABELS, segments=segments)
        self.asked = []
        self._masks = masks

    def predict(self, volume, case):
        assert volume.array.shape == (1, 1, 2, 4)
        self.asked.append(case)
        mask = np.array(self._masks[case], np.uint8).reshape(1, 2, 4)
        return Prediction(case=case, label_map=mask, geometry=_GEOMETRY)


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.zeros((2, 4), np.uint8)).save(path)
    return SimpleNamespace(
        images={"a": [path], "b": [path]}, choice=SimpleNamespace(calibration=("a", "b"))
    )


def test_masks_are_compared_case_by_case_and_the_original_answers_once(cases):
    """Organ: 2 * 2 / (4 + 2) in a, 1 in b. The cyst is in neither answer to a: left out."""
    original = _Answering(a=[1, 1, 1, 1, 0, 0, 0, 0], b=[1, 0, 2, 2, 0, 0, 0, 0])
    candidate = _Answering(a=[1, 1, 0, 0, 0, 0, 0, 0], b=[1, 0, 2, 0, 0, 0, 0, 0])
    rehearsal = Rehearsal(cases=cases, original=original)

    first = rehearsal.try_out(candidate, 1)
    same = rehearsal.try_out(original, 2)

    assert first.ends_in_float == 1
    assert first.dice == pytest.approx({"organ": (2 / 3 + 1) / 2, "cyst": 2 / 3})
    assert first.lowest_dice == pytest.approx(2 / 3)
    assert same.dice == {"organ": 1.0, "cyst": 1.0}
    assert original.asked == ["a", "b"] * 2  # once as itself, once as the candidate


def test_regions_that_nobody_finds_say_nothing(cases):
    original = _Answering(a=[1, 0, 0, 0, 0, 0, 0, 0], b=[0] * 8)

    tried = Rehearsal(cases=cases, original=original).try_out(original, 1)

    assert tried.dice == {"organ": 1.0, "cyst": None}
    assert tried.lowest_dice == 1.0


def test_a_network_without_masks_takes_the_first_way(cases):
    original = _Answering(segments=False)

    tried = Rehearsal(cases=cases, original=original).try_out(original, 1)

    assert tried.dice == {}
    assert chosen_parts([tried], wanted_agreement(0.99)) is tried


def test_the_fastest_that_agrees_well_enough_is_taken_else_the_best():
    tried = [
        FloatParts(ends_in_float=ends, dice={"organ": 0.999, "cyst": dice})
        for ends, dice in ((1, 0.992), (2, 0.9965), (3, 0.9962))
    ]

    assert wanted_agreement(0.99) == pytest.approx(0.995)
    assert chosen_parts(tried, 0.995).ends_in_float == 2
    assert chosen_parts(tried, 0.99).ends_in_float == 1
    assert chosen_parts(tried, 0.999).ends_in_float == 2
