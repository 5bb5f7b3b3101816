import pytest
import torch

from segduet.networks.standardise import RunningStandardiser


def test_first_batch_is_standardised_by_its_own_moments():
    """Values 1 and 3: mean 2, variance 1; values 10 and 10: no spread, so 0."""
    standardise = RunningStandardiser(2)
    result = standardise(torch.tensor([[1.0, 10.0], [3.0, 10.0]]))
    torch.testing.assert_close(result, torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), atol=1e-5, rtol=0)
    assert standardise.mean.tolist() == [2.0, 10.0]


def test_a_small_difference_beside_a_large_offset_comes_out_at_unit_scale():
    generator = torch.Generator().manual_seed(0)
    standardise = RunningStandardiser(3)
    scale = torch.tensor([0.01, 1.0, 100.0])
    for _ in range(300):
        standardise(50 + scale * torch.randn(4, 3, generator=generator))
    result = standardise.eval()(50 + scale * torch.randn(5000, 3, generator=generator))
    torch.testing.assert_close(result.mean(0), torch.zeros(3), atol=0.3, rtol=0)
    torch.testing.assert_close(result.std(0), torch.ones(3), atol=0.25, rtol=0)


def test_batches_of_one_stay_finite_and_bounded():
    standardise = RunningStandardiser(2)
    values = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    results = torch.stack([standardise(v[None]) for v in values])
    assert torch.isfinite(results).all()
    assert results.abs().max() <= 5
    assert standardise(torch.full((1, 2), 1e6)).abs().max() <= 5


def test_statistics_follow_a_moving_encoder():
    standardise = RunningStandardiser(1)
    for offset in (0.0, 10.0):
        for _ in range(400):
            standardise(torch.full((2, 1), offset))
    assert standardise.mean.item() == pytest.approx(10.0, abs=0.05)


def test_evaluation_changes_nothing_and_starts_as_the_identity():
    standardise = RunningStandardiser(2).eval()
    values = torch.tensor([[0.5, -1.0]])
    torch.testing.assert_close(standardise(values), values)
    assert standardise.num_batches.item() == 0


def test_statistics_survive_a_checkpoint():
    """B10: a resumed run goes on with the same numbers."""
    generator = torch.Generator().manual_seed(2)
    first, second = RunningStandardiser(2), RunningStandardiser(2)
    for _ in range(5):
        first(torch.randn(2, 2, generator=generator))
    second.load_state_dict(first.state_dict())
    values = torch.randn(2, 2, generator=generator)
    assert torch.equal(first(values), second(values))
    assert torch.equal(first.variance, second.variance)


def test_the_gradient_is_the_plain_division():
    standardise = RunningStandardiser(1).eval()
    standardise.variance.fill_(4.0)
    values = torch.tensor([[1.0]], requires_grad=True)
    standardise(values).sum().backward()
    assert values.grad.item() == pytest.approx(0.5, abs=1e-5)
