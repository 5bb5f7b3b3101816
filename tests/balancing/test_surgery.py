import pytest
import torch
from torch import nn

from segduet.balancing.config import GradientConfig
from segduet.balancing.protocol import Trunk
from segduet.balancing.registry import build_balancer
from segduet.balancing.surgery import build_aggregator
from segduet.balancing.term_gradients import TermGradients

METHODS = ["pcgrad", "mgda", "imtl_g", "aligned_mtl", "config"]
ROWS = {"segmentation": (1.0, 0.0), "task:kind": (-1.0, 1.0)}


class Toy:
    """Terms with given gradients at a shared parameter, and a parameter of their own each."""

    def __init__(self, rows=ROWS):
        self.shared = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.own = {name: nn.Parameter(torch.zeros((), dtype=torch.float64)) for name in rows}
        self.rows = rows
        everything = (self.shared, *self.own.values())
        self.trunk = Trunk(parameters=everything, anchor=(self.shared,))

    def losses(self):
        return {
            name: torch.tensor(row, dtype=torch.float64) @ self.shared + 3 * self.own[name] + 1
            for name, row in self.rows.items()
        }

    def step(self, config, losses=None, scale=1.0):
        balancer = build_balancer(config, tasks=["kind"], num_epochs=1)
        losses = losses or self.losses()
        return balancer.backward(losses, self.trunk, epoch=0, scale=torch.tensor(scale))


def test_pcgrad_by_hand():
    """B08: (1, 0) and (-1, 1) become (0.5, 0.5) and (0, 1); the heads' gradients stay 3."""
    toy = Toy()
    total = toy.step(GradientConfig(method="pcgrad"))
    assert total.item() == 2.0
    assert toy.shared.grad.tolist() == pytest.approx([0.5, 1.5])
    assert [own.grad.item() for own in toy.own.values()] == [3.0, 3.0]


def test_weights_come_before_the_surgery():
    """(1, 0) and (-2, 2): the sum of (0.5, 0.5) and (0, 2)."""
    toy = Toy()
    toy.step(GradientConfig(method="pcgrad", task_weight=2.0))
    assert toy.shared.grad.tolist() == pytest.approx([0.5, 2.5])
    assert [own.grad.item() for own in toy.own.values()] == [3.0, 6.0]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_resolves_a_conflict_the_plain_sum_leaves(method):
    """B08: the sum (-1, 1) opposes segmentation's gradient; what these give opposes neither."""
    toy = Toy({"segmentation": (1.0, 0.0), "task:kind": (-2.0, 1.0)})
    toy.step(GradientConfig(method=method))
    rows = torch.tensor(list(toy.rows.values()), dtype=torch.float64)
    assert (rows @ toy.shared.grad > -1e-12).all()
    assert (rows @ rows.sum(0)).tolist() == [-1.0, 3.0]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_commutes_with_the_scaler(method):
    """F48: f(c J) = c f(J), 1e-6 in float64."""
    torch.manual_seed(0)
    rows = torch.randn(3, 20, dtype=torch.float64)
    torch.manual_seed(1)
    plain = build_aggregator(method)(rows)
    torch.manual_seed(1)
    scaled = build_aggregator(method)(65536 * rows)
    assert torch.allclose(scaled / 65536, plain, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_term_unknown_in_the_batch_leaves_the_other_unchanged(method):
    """B03: MGDA would stand still before a gradient of zero."""
    toy = Toy()
    losses = toy.losses()
    losses["task:kind"] = 0 * losses["task:kind"]
    toy.step(GradientConfig(method=method), losses)
    assert toy.shared.grad.tolist() == [1.0, 0.0]
    assert toy.own["task:kind"].grad.item() == 0


@pytest.mark.parametrize("method", METHODS)
def test_an_overflow_of_fp16_reaches_the_scaler(method):
    toy = Toy()
    toy.step(GradientConfig(method=method), scale=float("inf"))
    assert not torch.isfinite(toy.shared.grad).all()


def test_gradients_are_split_by_who_reaches_what():
    """Shared rows in the parameters' order; a parameter nobody reaches gets no gradient."""
    both, mine, nobody = (nn.Parameter(torch.ones(2)) for _ in range(3))
    losses = {"a": (2 * both).sum() + (3 * mine).sum(), "b": (both * both).sum()}
    found = TermGradients.of(losses, Trunk(parameters=(mine, both, nobody), anchor=()))
    assert found.shared == (both,)
    assert {name: row.tolist() for name, row in found.rows.items()} == {"a": [2, 2], "b": [2, 2]}
    found.store(torch.tensor([5.0, 6.0]))
    assert both.grad.tolist() == [5.0, 6.0]
    assert mine.grad.tolist() == [3.0, 3.0]
    assert nobody.grad is None
