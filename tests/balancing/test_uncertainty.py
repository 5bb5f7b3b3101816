import math

import pytest
import torch
from torch import nn
from torchjd.scalarization import UW

from segduet.balancing.config import UncertaintyConfig
from segduet.balancing.protocol import Trunk
from segduet.balancing.registry import build_balancer
from segduet.balancing.uncertainty import UncertaintyBalancer

TRUNK = Trunk(parameters=(), anchor=())


def make(coefficients, start=0.0, bound=5.0, dtype=torch.float64):
    parameters = {n: nn.Parameter(torch.tensor(start, dtype=dtype)) for n in coefficients}
    return UncertaintyBalancer(parameters, coefficients, bound=bound)


def step(balancer, losses, scale=1.0):
    return balancer.backward(losses, TRUNK, epoch=0, scale=torch.tensor(scale))


def test_the_learned_variance_is_the_analytic_optimum():
    """F37: exp(-s) L + s/2 is least at sigma^2 = 2 L; exp(-s) L / 2 + s/2, regression, at L."""
    balancer = make({"classes": 1.0, "value": 0.5})
    optimizer = torch.optim.SGD(balancer.parameters(), lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        step(balancer, {"classes": torch.tensor(3.0), "value": torch.tensor(0.7)})
        optimizer.step()
    variances = [math.exp(s.item()) for s in balancer.parameters()]
    assert variances == pytest.approx([6.0, 0.7], rel=1e-6)
    assert balancer.weights(0) == pytest.approx({"classes": 1 / 6, "value": 0.5 / 0.7})


def test_it_equals_torchjd_where_every_term_is_a_regression():
    """F37: total and both gradients, 1e-6 in float64."""
    reference = UW(2).double()
    values = torch.tensor([0.3, 2.5], dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        reference.log_var.copy_(torch.tensor([-0.8, 1.3]))
    expected = reference(values)
    expected.backward()
    parameters = {n: nn.Parameter(s.clone()) for n, s in zip("ab", reference.log_var, strict=True)}
    balancer = UncertaintyBalancer(parameters, {"a": 0.5, "b": 0.5}, bound=5.0)
    ours = values.detach().clone().requires_grad_()
    total = step(balancer, {"a": ours[0], "b": ours[1]})
    assert torch.allclose(total, expected, rtol=0, atol=1e-6)
    assert torch.allclose(ours.grad, values.grad, rtol=0, atol=1e-6)
    learned = torch.stack([s.grad for s in balancer.parameters()])
    assert torch.allclose(learned, reference.log_var.grad, rtol=0, atol=1e-6)


def test_a_term_unknown_in_the_batch_leaves_its_variance_alone():
    """F37, B03: else s would sink step by step, and the weight rise."""
    balancer = make({"a": 1.0, "b": 1.0})
    total = step(balancer, {"a": torch.tensor(1.0), "b": torch.tensor(0.0)})
    known, unknown = balancer.parameters()
    assert total.item() == 1.0
    assert (known.grad.item(), unknown.grad.item()) == (-0.5, 0.0)


@pytest.mark.parametrize("start", [-1e6, 1e6])
def test_weights_stay_within_the_bound_under_the_largest_scale(start):
    """F37: finite under AMP, wherever the optimiser has stepped."""
    balancer = make({"a": 1.0}, start=start, dtype=torch.float32)
    assert math.exp(-5) <= balancer.weights(0)["a"] <= math.exp(5)
    total = step(balancer, {"a": torch.tensor(6e4)}, scale=2.0**24)
    (learned,) = balancer.parameters()
    assert torch.isfinite(total)
    assert torch.isfinite(learned.grad)
    assert abs(learned.item()) == 5.0


def test_built_from_a_configuration_it_knows_the_regressions():
    balancer = build_balancer(
        UncertaintyConfig(), tasks=["kind", "age"], num_epochs=1, regression_tasks=["age"]
    )
    assert balancer.weights(0) == {"segmentation": 1.0, "task:kind": 1.0, "task:age": 0.5}
    assert len(balancer.parameters()) == 3
