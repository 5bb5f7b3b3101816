import math

import pytest
import torch

from segduet.core.errors import DataError
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.networks.evidence import EvidenceRegion

PLAIN = LabelScheme.from_dataset_json(
    {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
)
REGIONS = LabelScheme.from_dataset_json(
    {"background": 0, "whole": [1, 2], "lesion": 2}, [1, 2], where="test"
)


def task(region: str | None) -> TaskSpec:
    return TaskSpec(name="t", classes=("a", "b"), evidence_region=region)


# One voxel whose softmax is (0.2, 0.3, 0.5).
SOFTMAX_VOXEL = torch.tensor([0.2, 0.3, 0.5]).log().reshape(1, 3, 1, 1)
# One voxel with sigmoids 0.9 and 0.25.
SIGMOID_VOXEL = torch.tensor([math.log(9), -math.log(3)]).reshape(1, 2, 1, 1)


@pytest.mark.parametrize(("region", "expected"), [("organ", 0.3), ("lesion", 0.5), (None, 0.8)])
def test_plain_labels_give_the_softmax_of_the_region(region, expected):
    probability = EvidenceRegion.of_task(task(region), PLAIN).probability(SOFTMAX_VOXEL)
    assert probability.shape == (1, 1, 1, 1)
    assert probability.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("region", "expected"), [("whole", 0.9), ("lesion", 0.25), (None, 0.9)])
def test_nested_regions_give_the_sigmoid_or_the_largest(region, expected):
    """F03."""
    probability = EvidenceRegion.of_task(task(region), REGIONS).probability(SIGMOID_VOXEL)
    assert probability.item() == pytest.approx(expected, abs=1e-6)


def test_certain_background_gives_no_evidence_below_zero():
    logits = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits[:, 0] += 30
    probability = EvidenceRegion.of_task(task(None), PLAIN).probability(logits)
    assert probability.min() >= 0
    assert probability.sum() < 1e-6


@pytest.mark.parametrize("name", ["background", "liver"])
def test_a_region_that_is_no_foreground_is_refused_by_name(name):
    with pytest.raises(DataError, match=rf"{name}.*organ.*lesion"):
        EvidenceRegion.of_task(task(name), PLAIN)
