import pytest
import torch

from segduet.networks.cross_stitch import CrossStitch, is_cross_stitch


def maps(channels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    first = torch.randn(2, channels, 3, 3, generator=generator)
    return first, torch.randn(2, channels, 3, 3, generator=generator)


def test_every_channel_is_mixed_by_its_own_matrix():
    """F25, by hand: Misra et al. 2016, equation 1, on one pixel with two channels."""
    unit = CrossStitch(2, "identity")
    with torch.no_grad():
        unit.weight.copy_(torch.tensor([[[1.0, 2], [3, 4]], [[0, 1], [-1, 0.5]]]))
    first, second = torch.tensor([10.0, 20]), torch.tensor([1.0, 2])
    mixed = unit(first.view(1, 2, 1, 1), second.view(1, 2, 1, 1))
    assert mixed[0].flatten().tolist() == [10 + 2, 2]
    assert mixed[1].flatten().tolist() == [30 + 4, -20 + 1]


def test_identity_leaves_both_maps_exactly_alone():
    """F25."""
    first, second = maps()
    mixed = CrossStitch(2, "identity")(first, second)
    assert torch.equal(mixed[0], first)
    assert torch.equal(mixed[1], second)


def test_near_identity_takes_a_tenth_of_the_other():
    """F25."""
    first, second = maps()
    mixed = CrossStitch(2, "near_identity")(first, second)
    torch.testing.assert_close(mixed[0], 0.9 * first + 0.1 * second)
    torch.testing.assert_close(mixed[1], 0.9 * second + 0.1 * first)


def test_uniform_draws_one_share_per_unit_and_column():
    """F25: the seed's start; the shares of a column sum to one, all channels start alike."""
    torch.manual_seed(0)
    units = torch.stack([CrossStitch(3, "uniform").weight.detach() for _ in range(400)])
    assert torch.equal(units, units[:, :1].expand_as(units))
    own, other = units[:, 0].diagonal(dim1=1, dim2=2), units[:, 0].flip(2).diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(own + other, torch.ones_like(own))
    assert own.min() >= 0.05
    assert own.max() <= 0.95
    assert own.min() < 0.1
    assert own.max() > 0.9
    assert abs(torch.corrcoef(own.T)[0, 1]) < 0.2  # columns draw apart


@pytest.mark.parametrize("answer", [0, 1])
def test_the_gradient_is_the_products_with_both_maps(answer):
    """F25: closed form; an answer moves its own row alone, also from the identity."""
    first, second = maps()
    unit = CrossStitch(2, "identity")
    unit(first, second)[answer].sum().backward()
    expected = torch.zeros(2, 2, 2)
    expected[:, answer, 0] = first.sum((0, 2, 3))
    expected[:, answer, 1] = second.sum((0, 2, 3))
    torch.testing.assert_close(unit.weight.grad, expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("encoder.stitches.0.weight", True),
        ("encoder.bottleneck_stitch.weight", True),
        ("encoder.for_masks.stages.0.dense.convs.0.weight", False),
        ("heads.task:stitched wound.perceptron.1.weight", False),
    ],
)
def test_stitches_are_told_by_their_names(name, expected):
    assert is_cross_stitch(name) is expected
