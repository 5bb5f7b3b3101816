import pytest
import torch
from torch.nn import functional

from segduet.networks.pooling import (
    SumsLayout,
    owned_weights,
    spread,
    weighted_sums,
)


def test_moments_equal_a_hand_worked_case():
    """Values 1, 3, 5 with weights 1, 1, 2: sum 14 of 4, variance (1+9+50)/4 - 12.25 = 2.75."""
    values = torch.tensor([1.0, 3.0, 5.0]).reshape(1, 1, 1, 3)
    weights = torch.tensor([[1.0, 1.0, 2.0], [1.0, 0.0, 0.0]]).reshape(1, 2, 1, 3)
    first, second = weighted_sums(values, weights), weighted_sums(values.square(), weights)
    assert first.tolist() == [[[14.0], [1.0]]]
    deviation = spread(first[:, 0], second[:, 0], torch.tensor([[4.0]]))
    assert deviation.item() == pytest.approx((2.75 + 1e-5) ** 0.5)


def test_sums_of_two_halves_add_up_to_the_whole():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(2, 3, 4, 6, 8, generator=generator)
    weights = torch.rand(2, 2, 4, 6, 8, generator=generator)
    left, right = (weighted_sums(values[..., s], weights[..., s]) for s in (slice(4), slice(4, 8)))
    torch.testing.assert_close(left + right, weighted_sums(values, weights))


def test_sums_of_half_precision_features_do_not_overflow():
    """A million voxels of 1 exceed float16's 65504; autocast would put the product into it."""
    values = torch.ones(1, 1, 1024, 1024, dtype=torch.float16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        summed = weighted_sums(values, torch.ones(1, 1, 1024, 1024))
    assert summed.dtype == torch.float32
    assert summed.item() == 2**20


def test_constant_features_have_a_finite_gradient():
    values = torch.full((1, 2, 4, 4), 3.0, requires_grad=True)
    weights = torch.ones(1, 1, 4, 4)
    first, second = weighted_sums(values, weights), weighted_sums(values.square(), weights)
    spread(first, second, torch.tensor(16.0)).sum().backward()
    assert torch.isfinite(values.grad).all()


def test_a_coarse_cell_owns_the_weight_of_its_voxels():
    weights = torch.arange(8.0).reshape(1, 1, 2, 4)
    assert owned_weights(weights, (1, 2)).tolist() == [[[[10.0, 18.0]]]]
    assert torch.equal(owned_weights(weights, (2, 4)), weights)
    # 3 voxels for 2 cells: floor(i * 2 / 3) is 0, 0, 1
    uneven = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 1, 1, 3)
    assert owned_weights(uneven, (1, 2)).tolist() == [[[[3.0, 4.0]]]]


@pytest.mark.parametrize("coarse", [(4, 6, 8), (2, 3, 4), (3, 4, 5), (1, 1, 1)])
def test_pooling_coarse_features_equals_pooling_them_upsampled(coarse):
    """Any size, also where a network has rounded up or down."""
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(2, 3, *coarse, generator=generator)
    weights = torch.rand(2, 2, 4, 6, 8, generator=generator)
    raised = functional.interpolate(values, size=(4, 6, 8), mode="nearest")
    owned = owned_weights(weights, coarse)
    torch.testing.assert_close(weighted_sums(values, owned), weighted_sums(raised, weights))
    torch.testing.assert_close(owned.flatten(2).sum(2), weights.flatten(2).sum(2))


def test_what_is_packed_is_unpacked():
    layout = SumsLayout({"a": (1,), "b": (2, 3)})
    parts = {"b": torch.rand(4, 2, 3), "a": torch.rand(4, 1)}
    packed = layout.pack(parts)
    assert packed.shape == (4, layout.size) == (4, 7)
    assert torch.equal(packed[:, :1], parts["a"])
    unpacked = layout.unpack(packed)
    assert all(torch.equal(unpacked[name], part) for name, part in parts.items())
