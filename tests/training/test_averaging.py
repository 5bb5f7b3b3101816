import pytest
import torch
from torch import nn

from segduet.training.averaging import WeightAverage


def test_the_average_follows_the_hand_worked_recursion():
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
    average = WeightAverage(network, decay=0.5)
    with torch.no_grad():
        network.weight.fill_(1.0)
    average.update(network)  # d = min(.5, 1/10) = .1 -> 0.9
    assert average.network.weight.item() == pytest.approx(0.9)
    with torch.no_grad():
        network.weight.fill_(0.0)
    average.update(network)  # d = min(.5, 2/11) -> 0.9 * 2/11
    assert average.network.weight.item() == pytest.approx(0.9 * 2 / 11)


def test_running_statistics_are_averaged_like_weights_and_counters_are_copied():
    network = nn.BatchNorm1d(2)
    average = WeightAverage(network, decay=0.9)
    network.running_mean.fill_(3.0)
    network.num_batches_tracked.fill_(7)
    average.update(network)  # d = min(.9, 1/10) = .1 -> 0.1 * 0 + 0.9 * 3
    assert average.network.running_mean.tolist() == pytest.approx([2.7, 2.7])
    assert average.network.num_batches_tracked.item() == 7


def test_the_network_in_training_is_left_alone():
    network = nn.Linear(2, 2)
    average = WeightAverage(network, decay=0.9)
    before = network.weight.detach().clone()
    average.update(network)
    assert torch.equal(network.weight, before)
    assert all(p.requires_grad for p in network.parameters())
    assert not any(p.requires_grad for p in average.network.parameters())
