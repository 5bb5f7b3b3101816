"""F53: moving and plain averages of the weights, and the statistics that go with them."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from segduet.training.averaging import (
    ExponentialAverage,
    PlainAverage,
    build_average,
    has_batch_norm,
    refresh_batch_norm,
)
from segduet.training.averaging_config import AveragingConfig, EmaConfig, NoAveraging, SwaConfig
from segduet.training.checkpoint import read_model
from segduet.training.devices import choose_compute
from segduet.training.loop import train
from segduet.training.samples import batches
from segduet.training.selection import periodic_models
from segduet.training.tensors import unique_tensors


def test_the_average_follows_the_hand_worked_recursion():
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
    average = ExponentialAverage(network, decay=0.5)
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
    average = ExponentialAverage(network, decay=0.9)
    network.running_mean.fill_(3.0)
    network.num_batches_tracked.fill_(7)
    average.update(network)  # d = min(.9, 1/10) = .1 -> 0.1 * 0 + 0.9 * 3
    assert average.network.running_mean.tolist() == pytest.approx([2.7, 2.7])
    assert average.network.num_batches_tracked.item() == 7


class _NamedTwice(nn.Module):
    """One layer under two names, as nnU-Net's decoder holds the encoder."""

    def __init__(self, value):
        super().__init__()
        self.encoder = _with_weight(value)
        self.decoder = nn.ModuleDict({"encoder": self.encoder})


def test_a_layer_named_twice_is_averaged_once():
    average = ExponentialAverage(_NamedTwice(0.0), decay=0.5)
    average.update(_NamedTwice(1.0))  # d = .1 -> 0.9; twice it would be 0.99
    assert average.network.encoder.weight.item() == pytest.approx(0.9)


def test_the_network_in_training_is_left_alone():
    network = nn.Linear(2, 2)
    average = ExponentialAverage(network, decay=0.9)
    before = network.weight.detach().clone()
    average.update(network)
    assert torch.equal(network.weight, before)
    assert all(p.requires_grad for p in network.parameters())
    assert not any(p.requires_grad for p in average.network.parameters())


def _with_weight(value):
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(value)
    return network


def test_the_plain_average_is_the_mean_of_the_last_epochs():
    """Epochs 2, 3 and 4 hold 3, 5 and 10: their mean is 6; steps and epoch 1 do not count."""
    average = PlainAverage(_with_weight(100.0), first_epoch=2)
    for epoch, value in enumerate([7.0, 8.0, 3.0, 5.0, 10.0]):
        average.update(_with_weight(1000.0))
        average.end_epoch(_with_weight(value), epoch=epoch)
    assert average.network.weight.item() == pytest.approx(6.0)
    assert average.num_updates == 3


def test_running_statistics_of_a_plain_average_are_averaged_too():
    network = nn.BatchNorm1d(1)
    average = PlainAverage(network, first_epoch=0)
    for epoch, mean in enumerate([1.0, 4.0]):
        network.running_mean.fill_(mean)
        average.end_epoch(network, epoch=epoch)
    assert average.network.running_mean.item() == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("share", "num_epochs", "first"), [(0.25, 200, 150), (1.0, 7, 0), (0.1, 4, 3), (0.5, 5, 2)]
)
def test_the_last_share_of_the_epochs_is_averaged(share, num_epochs, first):
    """At least one epoch always is."""
    assert SwaConfig(last_share=share).first_epoch(num_epochs) == first


def test_a_configuration_builds_its_average():
    network = nn.Linear(1, 1)
    assert build_average(NoAveraging(), network, num_epochs=4) is None
    assert isinstance(build_average(EmaConfig(), network, num_epochs=4), ExponentialAverage)
    assert isinstance(build_average(SwaConfig(), network, num_epochs=4), PlainAverage)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "ema", "decay": 1.0}, "less than 1"),
        ({"kind": "swa", "decay": 0.9}, "decay"),
        ({"kind": "swa", "last_share": 0}, "greater than 0"),
        ({"kind": "none", "decay": 0.9}, "decay"),
        ({"kind": "mean"}, "'none', 'ema', 'swa'"),
    ],
)
def test_averages_that_make_no_sense_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(AveragingConfig).validate_python(content)


class _Normalised(nn.Module):
    """Batch normalisation of the image's only channel; dropout must not be drawn."""

    def __init__(self):
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm3d(1), nn.Dropout(0.5)

    def forward(self, image):
        return self.dropout(self.norm(image))


def _batches(job, count):
    return batches(job.patches, batch_size=2, first_step=0, last_step=count, workers=0)


def test_refreshed_statistics_are_the_mean_over_the_batches(make_job):
    """By hand: mean of the batches' means, mean of their unbiased variances."""
    job = make_job()
    network = _Normalised().eval()
    network.norm.running_mean.fill_(50.0)
    random_state = torch.get_rng_state()
    refresh_batch_norm(network, _batches(job, 3), choose_compute("cpu", "fp32"))
    images = [batch.image for batch in _batches(job, 3)]
    mean = torch.stack([i.mean() for i in images]).mean()
    variance = torch.stack([i.var() for i in images]).mean()
    assert network.norm.running_mean.item() == pytest.approx(mean.item(), abs=1e-5)
    assert network.norm.running_var.item() == pytest.approx(variance.item(), rel=1e-5)
    assert network.norm.momentum == 0.1
    assert not any(module.training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_only_layers_with_running_batch_statistics_count():
    assert has_batch_norm(nn.Sequential(nn.BatchNorm2d(2)))
    assert not has_batch_norm(nn.Sequential(nn.InstanceNorm3d(2, affine=True), nn.LayerNorm(2)))
    assert not has_batch_norm(nn.BatchNorm2d(2, track_running_stats=False))


def _trained(make_job, folder, averaging, **settings):
    return train(make_job(folder=folder, averaging=averaging, **settings), resume=False)


def test_a_training_with_swa_gives_the_manual_mean_of_its_epochs(make_job, tmp_path):
    """The models kept after epochs 3 and 4 of a plain run, averaged by hand, in its last half."""
    plain = _trained(make_job, tmp_path / "plain", {"kind": "none"}, keep_every=1)
    swa = _trained(make_job, tmp_path / "swa", {"kind": "swa", "last_share": 0.5})
    third, _ = read_model(periodic_models(tmp_path / "plain")[-1])
    fourth = unique_tensors(plain.model)
    found = unique_tensors(swa.model)
    moving = [name for name, tensor in fourth.items() if tensor.is_floating_point()]
    for name in moving:
        expected = (third[name].double() + fourth[name].double()) / 2
        assert torch.allclose(found[name].double(), expected, atol=1e-6), name
    assert any(not torch.equal(found[name], fourth[name]) for name in moving)
    assert swa.average.num_updates == 2


def test_a_training_with_swa_resumes_bit_for_bit(make_job, tmp_path):
    """B10: interrupted between the first and the last averaged epoch."""
    swa = {"kind": "swa", "last_share": 0.75}
    whole = _trained(make_job, tmp_path / "whole", swa)
    _trained(make_job, tmp_path / "parts", swa, until_epoch=2)
    parts = train(make_job(folder=tmp_path / "parts", averaging=swa), resume=True)
    expected = unique_tensors(whole.model)
    assert all(torch.equal(expected[k], v) for k, v in unique_tensors(parts.model).items())


def test_before_its_first_epoch_a_plain_average_is_not_the_model(make_job, tmp_path):
    swa = {"kind": "swa", "last_share": 0.25}
    state = _trained(make_job, tmp_path / "swa", swa, until_epoch=1)
    assert state.model is state.network
