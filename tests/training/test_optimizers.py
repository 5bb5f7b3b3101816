import pytest
import torch
from torch import nn

from segduet.training.config import OptimizerConfig
from segduet.training.optimizers import build_optimizer, set_rate


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(2, 2)
        self.heads = nn.ModuleDict({"kind": nn.Linear(2, 2)})


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_every_parameter_is_in_exactly_one_group(name):
    """F47: groups cover all parameters once."""
    network = _Net()
    optimizer = build_optimizer(network, OptimizerConfig(name=name))
    grouped = [id(p) for g in optimizer.param_groups for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())


def test_head_rate_acts_and_every_group_follows_the_schedule():
    """F46, F47: own rate of the heads, scaled alike."""
    config = OptimizerConfig(learning_rate=0.1, head_learning_rate=0.4)
    optimizer = build_optimizer(_Net(), config)
    assert set_rate(optimizer, 0.5) == pytest.approx(0.05)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.05, 0.2])


def test_sgd_takes_the_hand_worked_nesterov_step():
    network = _Net()
    optimizer = build_optimizer(
        network, OptimizerConfig(learning_rate=0.1, momentum=0.9, weight_decay=0.0)
    )
    set_rate(optimizer, 1.0)
    before = network.encoder.weight.detach().clone()
    network.encoder.weight.grad = torch.ones_like(before)
    optimizer.step()
    # first Nesterov step: v = g, update = g + 0.9 v = 1.9 g
    assert torch.allclose(network.encoder.weight, before - 0.19)
