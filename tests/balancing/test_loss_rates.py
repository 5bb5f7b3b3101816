import math

import pytest
import torch
from torchjd.scalarization import DWA

from segduet.balancing.dwa import DwaBalancer
from segduet.balancing.protocol import Trunk
from segduet.balancing.validation_rate import ValidationRateBalancer
from segduet.core.errors import RequestError

TRUNK = Trunk(parameters=(), anchor=())
TERMS = ("segmentation", "task:kind", "task:grade")


def epoch_of(balancer, batches):
    for values in batches:
        terms = {t: torch.tensor(v, requires_grad=True) for t, v in zip(TERMS, values, strict=True)}
        balancer.backward(terms, TRUNK, epoch=0, scale=torch.ones(()))
    balancer.end_epoch({})


def test_dwa_equals_torchjd_over_five_epochs():
    """F38: weights of every epoch to 1e-6; they sum to the number of terms."""
    generator = torch.Generator().manual_seed(0)
    ours, reference = DwaBalancer(TERMS, temperature=2.0), DWA(2.0)
    for _ in range(5):
        batches = torch.rand(4, 3, generator=generator, dtype=torch.float64) + 0.1
        values = batches[0].clone().requires_grad_()
        (expected,) = torch.autograd.grad(reference(values), values)
        weights = list(ours.weights(0).values())
        assert weights == pytest.approx(expected.tolist(), abs=1e-6)
        assert math.fsum(weights) == pytest.approx(3)
        for batch in batches[1:]:
            reference(batch)
        reference.step()
        epoch_of(ours, batches.tolist())


def test_dwa_gives_more_to_what_falls_slowly():
    """F38: rates 0.5, 1 and 1 at temperature 1: 3 e^0.5 / (e^0.5 + 2e) = 0.698."""
    balancer = DwaBalancer(TERMS, temperature=1.0)
    epoch_of(balancer, [(2.0, 2.0, 2.0)])
    assert balancer.weights(1) == dict.fromkeys(TERMS, 1.0)
    epoch_of(balancer, [(1.0, 2.0, 2.0)])
    first = 3 * math.exp(0.5) / (math.exp(0.5) + 2 * math.e)
    expected = [first, (3 - first) / 2, (3 - first) / 2]
    assert list(balancer.weights(2).values()) == pytest.approx(expected)


def test_batches_that_do_not_know_a_term_do_not_dilute_its_mean():
    """F38, B03."""
    diluted, whole = (DwaBalancer(TERMS, temperature=2.0) for _ in range(2))
    for first in (2.0, 1.0):
        epoch_of(diluted, [(first, 3.0, 1.0), (first, 0.0, 1.0), (0.0, 0.0, 1.0)])
        epoch_of(whole, [(first, 3.0, 1.0)])
    assert diluted.weights(2) == pytest.approx(whole.weights(2))


def test_a_term_unknown_for_an_epoch_keeps_its_history():
    balancer = DwaBalancer(TERMS, temperature=2.0)
    for kind in (2.0, 0.0, 1.0):
        epoch_of(balancer, [(1.0, kind, 1.0)])
    assert balancer.progress()["task:kind"] == [2.0, 1.0]


def validated(balancer, *values):
    balancer.end_epoch({"validation": dict(zip(TERMS, values, strict=True))})


@pytest.mark.parametrize(
    ("alpha", "expected"), [(1.0, [0.6, 1.2, 1.2]), (2.0, [1 / 3, 4 / 3, 4 / 3])]
)
def test_validation_rate_gives_more_to_what_has_come_less_far(alpha, expected):
    """F38: rates 0.5, 1, 1, to the power of alpha, scaled to sum to 3."""
    balancer = ValidationRateBalancer(TERMS, alpha=alpha, smoothing=0.0)
    assert balancer.weights(0) == dict.fromkeys(TERMS, 1.0)
    validated(balancer, 2.0, 2.0, 5.0)
    validated(balancer, 1.0, 2.0, 5.0)
    assert list(balancer.weights(2).values()) == pytest.approx(expected)


def test_validation_rate_is_smoothed_and_passes_over_unknown_terms():
    """0.9 * 2 + 0.1 * 1 = 1.9 of 2; the others 1."""
    balancer = ValidationRateBalancer(TERMS, alpha=1.0, smoothing=0.9)
    validated(balancer, 2.0, None, 0.0)
    validated(balancer, 1.0, None, 0.0)
    expected = [3 * 0.95 / 2.95, 3 / 2.95, 3 / 2.95]
    assert list(balancer.weights(2).values()) == pytest.approx(expected)


def test_validation_rate_without_validation_is_one_clear_error():
    balancer = ValidationRateBalancer(TERMS, alpha=1.0, smoothing=0.9)
    with pytest.raises(RequestError, match=r"validation_rate.*patches_per_epoch"):
        balancer.end_epoch({"epoch": 0, "train": {}, "validation": {}})
