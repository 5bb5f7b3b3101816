import pytest
import torch
from torch.nn.functional import max_pool2d, max_unpool2d

from segduet.networks.unpooling import unpool


def test_values_return_to_where_the_maxima_were():
    """F21, by hand: maxima 7, 9 (first row) at (1, 0), (0, 3); the odd last row stays zero."""
    before = torch.tensor([[1.0, 2, 3, 9], [7, 0, 4, 5], [8, 8, 8, 8]]).view(1, 1, 3, 4)
    after = unpool(torch.tensor([[10.0, 20]]).view(1, 1, 1, 2), before)
    expected = torch.tensor([[0.0, 0, 0, 20], [10, 0, 0, 0], [0, 0, 0, 0]])
    assert torch.equal(after, expected.view(1, 1, 3, 4))


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (9, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_torchs_unpooling_with_carried_indices(size, dtype):
    """F21: odd sizes, and the types of mixed precision."""
    generator = torch.Generator().manual_seed(1)
    before = torch.randn(2, 3, *size, generator=generator).to(dtype)
    pooled, indices = max_pool2d(before, 2, return_indices=True)
    features = torch.randn(pooled.shape, generator=generator).to(dtype)
    expected = max_unpool2d(features, indices, 2, output_size=list(size))
    assert torch.equal(unpool(features, before), expected)


def test_the_gradient_comes_from_the_maxima_alone():
    before = torch.randn(1, 2, 5, 4, generator=torch.Generator().manual_seed(2))
    pooled = max_pool2d(before, 2).requires_grad_()
    weights = torch.arange(40.0).view(1, 2, 5, 4)
    (unpool(pooled, before) * weights).sum().backward()
    _, indices = max_pool2d(before, 2, return_indices=True)
    expected = weights.flatten(2).gather(2, indices.flatten(2)).view(1, 2, 2, 2)
    assert torch.equal(pooled.grad, expected)
