import math

import pytest
import torch
from torch import nn

from segduet.balancing.gradnorm import GradNormBalancer
from segduet.balancing.protocol import Trunk

ONE = torch.ones(())


class Toy:
    """Terms whose gradients at the anchor keep the norms 10 and 1, and whose losses are set."""

    def __init__(self):
        self.anchor = nn.Parameter(torch.zeros(2))
        self.trunk = Trunk(parameters=(self.anchor,), anchor=(self.anchor,))

    def losses(self, first=1.0, second=1.0):
        return {"a": 10 * self.anchor[0] + first, "b": self.anchor[1] + second}

    def run(self, balancer, steps, scale=ONE, **losses):
        for _ in range(steps):
            balancer.backward(self.losses(**losses), self.trunk, epoch=0, scale=scale)
        return balancer.weights(0)


def make(alpha=0.0, learning_rate=0.005):
    return GradNormBalancer(("a", "b"), alpha=alpha, learning_rate=learning_rate)


def test_the_norms_become_equal():
    """F38: 10 w_a = w_b and w_a + w_b = 2 give 2/11 and 20/11."""
    weights = Toy().run(make(), 500)
    assert weights["a"] == pytest.approx(2 / 11, abs=0.01)
    assert math.fsum(weights.values()) == pytest.approx(2)
    assert 10 * weights["a"] / weights["b"] == pytest.approx(1, abs=0.1)


def test_the_scaler_changes_nothing():
    plain, scaled = Toy().run(make(), 20), Toy().run(make(), 20, scale=torch.tensor(1024.0))
    assert plain == scaled


def test_with_alpha_the_term_that_lags_behind_pulls_harder():
    """F38: a has come to half its first loss, b has not moved; targets 2/3 and 4/3 of the mean."""
    toy, balancer = Toy(), make(alpha=1.0)
    toy.run(balancer, 1)
    weights = toy.run(balancer, 700, first=0.5)
    assert weights["b"] / (10 * weights["a"]) == pytest.approx(2, rel=0.15)


def test_a_term_unknown_in_a_batch_moves_no_weight():
    """F38, B03: nor is its 0 taken for its first loss."""
    toy, balancer = Toy(), make()
    toy.run(balancer, 3, second=0.0)
    assert balancer.weights(0) == {"a": 1.0, "b": 1.0}
    assert balancer.progress()["first"] == {"a": 1.0, "b": None}


def test_an_overflow_of_fp16_moves_no_weight():
    toy, balancer = Toy(), make()
    toy.run(balancer, 1, scale=torch.tensor(math.inf))
    assert balancer.weights(0) == {"a": 1.0, "b": 1.0}


def test_an_encoder_that_is_not_trained_moves_no_weight():
    balancer, toy = make(), Toy()
    trunk = Trunk(parameters=toy.trunk.parameters, anchor=())
    balancer.backward(toy.losses(), trunk, epoch=0, scale=ONE)
    assert balancer.weights(0) == {"a": 1.0, "b": 1.0}


def test_going_on_from_the_saved_state_is_exact():
    """F38, B10: Adam's moments included."""
    straight, begun, resumed = make(), make(), make()
    toy = Toy()
    expected = toy.run(straight, 40)
    toy.run(begun, 20)
    resumed.load_state_dict(begun.state_dict())
    assert toy.run(resumed, 20) == expected
