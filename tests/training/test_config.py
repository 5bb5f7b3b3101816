import pytest
from pydantic import ValidationError

from segduet.training.config import Recipe, SamplingConfig


def test_validation_patches_are_neither_augmented_nor_balanced():
    """F32: a validation case is shown as often as any other; where patches lie stays the same."""
    sampling = SamplingConfig(
        augmentation="da5", cases="class_balanced", balanced_task="grade", foreground_share=0.7
    )
    plain = sampling.for_validation()
    assert plain == SamplingConfig(augmentation="none", foreground_share=0.7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"answers": "segmentation", "balancing": {"kind": "dwa"}}, "dwa needs answers joint"),
        ({"network": {"kind": "resnet18"}}, "resnet18 draws no masks"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(settings, message):
    """F23, F95."""
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        ({}, True),
        ({"answers": "segmentation"}, True),
        ({"answers": "classification"}, False),
        ({"network": {"kind": "planned", "width_factor": 2.0}}, False),
        ({"network": {"kind": "standalone_unet"}}, False),
    ],
)
def test_only_the_plans_own_network_is_offered_to_stock_nnunet(settings, fits):
    """B11, F20: its predictor builds what the plan says."""
    assert Recipe.model_validate(settings).fits_stock_nnunet is fits
