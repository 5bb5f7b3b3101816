import pytest
import torch
from pydantic import ValidationError
from torch import nn

from segduet.core.errors import RequestError
from segduet.training.config import OptimizerConfig
from segduet.training.optimizers import build_optimizer, part_of, set_rate


class _Net(nn.Module):
    def __init__(self, *, stitched: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        self.decoder = nn.Linear(2, 2)
        self.decoder.encoder = self.encoder  # nnU-Net's decoder holds the encoder again
        self.heads = nn.ModuleDict({"task:kind": nn.Linear(2, 2)})
        if stitched:
            self.cross_stitches = nn.ParameterList([torch.eye(2)])


def _rates(optimizer):
    return {g["part"]: g["lr"] for g in optimizer.param_groups}


@pytest.mark.parametrize("decay_norms", [True, False])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_every_parameter_is_in_exactly_one_group(name, decay_norms):
    """F47: groups cover all parameters once, learned loss weights too."""
    network, extra = _Net(stitched=True), [nn.Parameter(torch.zeros(2))]
    optimizer = build_optimizer(
        network, OptimizerConfig(name=name, decay_norms=decay_norms), extra=extra
    )
    grouped = [id(p) for g in optimizer.param_groups for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in [*network.parameters(), *extra])


def test_every_parameter_of_a_planned_joint_network_is_in_one_group_of_its_part(make_job):
    """F47: nnU-Net's shared encoder is counted once."""
    network = make_job().network
    optimizer = build_optimizer(network, OptimizerConfig())
    sizes = {g["part"]: sum(p.numel() for p in g["params"]) for g in optimizer.param_groups}
    encoder = sum(p.numel() for p in network.encoder.parameters())
    everything = sum(p.numel() for p in network.parameters())
    heads = sum(p.numel() for p in network.heads.parameters())
    assert sizes == {"encoder": encoder, "decoder": everything - encoder - heads, "heads": heads}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("encoder.stages.0.weight", "encoder"),
        ("decoder.seg_layers.0.bias", "decoder"),
        ("heads.task:kind.0.weight", "heads"),
        ("heads.task:stitches needed.0.weight", "heads"),
        ("segmentation.encoder.0.weight", "encoder"),
        ("encoder.attention.heads.weight", "encoder"),
        ("cross_stitches.2.mixing", "cross_stitch"),
        ("encoder.stitch.weight", "cross_stitch"),
        ("stem.weight", "other"),
    ],
)
def test_a_parameter_belongs_to_the_part_its_name_says(name, part):
    """F47."""
    assert part_of(name) == part


def test_every_part_learns_at_its_factor_and_follows_the_schedule():
    """F46, F47: hand-worked products."""
    config = OptimizerConfig(
        learning_rate=0.1,
        rate_factors={"encoder": 0.5, "decoder": 2, "heads": 4, "cross_stitch": 1000},
    )
    extra = [nn.Parameter(torch.zeros(1))]
    optimizer = build_optimizer(_Net(stitched=True), config, extra=extra)
    assert set_rate(optimizer, 0.5) == pytest.approx(0.025)
    assert _rates(optimizer) == pytest.approx(
        {"encoder": 0.025, "decoder": 0.1, "heads": 0.2, "cross_stitch": 50, "balancing": 0.05}
    )


def test_cross_stitch_units_learn_a_hundred_times_faster_unless_told_otherwise():
    """F47: Misra et al. 2016; on the others the default changes nothing."""
    rates = _rates(build_optimizer(_Net(stitched=True), OptimizerConfig(learning_rate=0.1)))
    assert rates == pytest.approx(
        {"encoder": 0.1, "decoder": 0.1, "heads": 0.1, "cross_stitch": 10}
    )


@pytest.mark.parametrize("part", ["cross_stitch", "balancing"])
def test_a_factor_for_a_part_that_is_not_there_is_refused(part):
    """F47: bad input."""
    config = OptimizerConfig(rate_factors={part: 3})
    with pytest.raises(RequestError, match=rf"rate_factors\.{part}.*3.*encoder"):
        build_optimizer(_Net(), config)


def _moved_by_decay_alone(config, network, extra=()):
    """Names of the parameters that move although their gradient is zero."""
    named = {**dict(network.named_parameters()), **{f"extra{i}": p for i, p in enumerate(extra)}}
    before = {}
    for name, parameter in named.items():
        nn.init.constant_(parameter, 1.0)
        before[name] = parameter.detach().clone()
        parameter.grad = torch.zeros_like(parameter)
    build_optimizer(network, config, extra=extra).step()
    return {n for n, p in named.items() if not torch.equal(p, before[n])}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_decay_reaches_weights_and_where_wanted_norms_but_no_stitch_or_loss_weight(name):
    """F47: a step on zero gradients."""
    options = {"name": name, "weight_decay": 0.1}
    extra = [nn.Parameter(torch.zeros(1))]
    weights = {"encoder.0.weight", "decoder.weight", "heads.task:kind.weight"}
    norms = {"encoder.0.bias", "encoder.1.weight", "encoder.1.bias", "decoder.bias"} | {
        "heads.task:kind.bias"
    }
    every, spared = (
        _moved_by_decay_alone(
            OptimizerConfig(**options, decay_norms=decays), _Net(stitched=True), extra
        )
        for decays in (True, False)
    )
    assert every == weights | norms
    assert spared == weights


def test_sgd_takes_the_hand_worked_nesterov_step():
    network = _Net()
    optimizer = build_optimizer(
        network, OptimizerConfig(learning_rate=0.1, momentum=0.9, weight_decay=0.0)
    )
    set_rate(optimizer, 1.0)
    weight = network.decoder.weight
    before = weight.detach().clone()
    weight.grad = torch.ones_like(before)
    optimizer.step()
    # first Nesterov step: v = g, update = g + 0.9 v = 1.9 g
    assert torch.allclose(weight, before - 0.19)


def test_adamw_takes_the_hand_worked_first_step():
    """F47: decay 1 - lr * 0.5, then lr * g / |g|."""
    network = _Net()
    optimizer = build_optimizer(
        network, OptimizerConfig(name="adamw", learning_rate=0.1, weight_decay=0.5)
    )
    weight = network.decoder.weight
    before = weight.detach().clone()
    weight.grad = torch.full_like(before, 7.0)
    optimizer.step()
    assert torch.allclose(weight, before * 0.95 - 0.1, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adamw", "momentum": 0.9}, "momentum has no effect on adamw"),
        ({"weight_decay": 0, "decay_norms": False}, "decay_norms has no effect"),
        ({"rate_factors": {"heads": 0}}, "greater than 0"),
        ({"learning_rate": float("inf")}, "finite"),
    ],
)
def test_settings_without_effect_or_sense_are_refused(settings, message):
    """F47: bad input."""
    with pytest.raises(ValidationError, match=message):
        OptimizerConfig(**settings)
