import pytest
import torch

from segduet.networks.pooling import PooledSums, region_weights, resized_to


def test_moments_equal_a_hand_worked_case():
    """Values 1, 3, 5 with weights 1, 1, 2: mean 14/4, variance (1+9+50)/4 - 12.25 = 2.75."""
    features = torch.tensor([1.0, 3.0, 5.0]).reshape(1, 1, 1, 3)
    weights = torch.tensor([1.0, 1.0, 2.0]).reshape(1, 1, 1, 3)
    sums = PooledSums.of(features, weights)
    assert sums.weight.item() == 4
    assert sums.mean.item() == pytest.approx(3.5)
    assert sums.spread.item() == pytest.approx((2.75 + 1e-5) ** 0.5)


def test_sums_of_two_halves_add_up_to_the_whole():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 3, 4, 6, 8, generator=generator)
    weights = torch.rand(2, 1, 4, 6, 8, generator=generator)
    whole = PooledSums.of(features, weights)
    left, right = (
        PooledSums.of(features[..., s], weights[..., s]) for s in (slice(4), slice(4, 8))
    )
    added = PooledSums(
        weight=left.weight + right.weight,
        first=left.first + right.first,
        second=left.second + right.second,
    )
    torch.testing.assert_close(added.mean, whole.mean)
    torch.testing.assert_close(added.spread, whole.spread)


def test_sums_of_half_precision_features_do_not_overflow():
    """A million voxels of 1 exceed float16's 65504."""
    features = torch.ones(1, 1, 1024, 1024, dtype=torch.float16)
    sums = PooledSums.of(features, torch.ones(1, 1, 1024, 1024))
    assert sums.first.item() == 2**20
    assert sums.mean.item() == 1


def test_constant_features_have_a_finite_gradient():
    features = torch.full((1, 2, 4, 4), 3.0, requires_grad=True)
    PooledSums.of(features, torch.ones(1, 1, 4, 4)).spread.sum().backward()
    assert torch.isfinite(features.grad).all()


def test_the_prior_weighs_as_much_as_a_region_of_its_volume():
    probability = torch.zeros(1, 1, 4, 5)
    assert region_weights(probability, 2.0).sum().item() == pytest.approx(2.0)
    probability[..., :1, :2] = 1
    assert region_weights(probability, 2.0).sum().item() == pytest.approx(4.0)
    assert region_weights(probability, 2.0).min() > 0


def test_resizing_averages_and_keeps_the_total_share():
    weights = torch.arange(8.0).reshape(1, 1, 2, 4)
    assert resized_to(weights, (1, 2)).tolist() == [[[[2.5, 4.5]]]]
    assert resized_to(weights, (2, 4)) is weights
    cube = torch.rand(1, 1, 3, 4, 6, generator=torch.Generator().manual_seed(2))
    coarse = resized_to(cube, (3, 2, 2))
    assert coarse.shape == (1, 1, 3, 2, 2)
    torch.testing.assert_close(coarse.mean(), cube.mean())
    torch.testing.assert_close(coarse[0, 0, 1, 0, 1], cube[0, 0, 1, :2, 3:].mean())
