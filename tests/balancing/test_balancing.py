import json

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from segduet.balancing.config import (
    BalancerConfig,
    DwaConfig,
    FadeConfig,
    FixedConfig,
    GradientConfig,
    GradNormConfig,
    GuardedConfig,
    PlateauConfig,
    TwoPhaseConfig,
    UncertaintyConfig,
    ValidationRateConfig,
)
from segduet.balancing.protocol import Trunk, weighted_sum
from segduet.balancing.registry import BUILDERS, build_balancer
from segduet.core.errors import DataError, RequestError

CONFIGS = [
    FixedConfig(),
    TwoPhaseConfig(),
    TwoPhaseConfig(isolate_first_phase=True),
    FadeConfig(),
    UncertaintyConfig(),
    DwaConfig(),
    GradNormConfig(),
    ValidationRateConfig(),
    PlateauConfig(),
    GradientConfig(),
    GuardedConfig(),
]
ONE = torch.ones(())


def losses(**values: float) -> dict[str, torch.Tensor]:
    return {
        name.replace("__", ":"): nn.Parameter(torch.tensor(value)) for name, value in values.items()
    }


def build(config, tasks=("kind",), num_epochs=100):
    return build_balancer(config, tasks=tasks, num_epochs=num_epochs)


def total(balancer, terms, epoch=0, scale=ONE):
    everything = tuple(terms.values())
    trunk = Trunk(parameters=everything, anchor=everything)
    return balancer.backward(terms, trunk, epoch=epoch, scale=scale)


def test_fixed_total_is_the_weighted_sum_exactly():
    """F34: 0.5 * 2 + 0.25 * 8 + 4 * 1 = 7, and each gradient is its weight."""
    config = FixedConfig(segmentation_weight=0.5, task_weight=0.25, task_weights={"grade": 4.0})
    balancer = build(config, tasks=("kind", "grade"))
    terms = losses(segmentation=2.0, task__kind=8.0, task__grade=1.0)
    balanced = total(balancer, terms)
    assert balanced.shape == ()
    assert balanced.item() == 7.0
    assert not balanced.requires_grad
    assert [t.grad.item() for t in terms.values()] == [0.5, 0.25, 4.0]


def test_fixed_weights_do_not_depend_on_the_epoch():
    balancer = build(FixedConfig())
    assert balancer.weights(0) == balancer.weights(99) == {"segmentation": 1.0, "task:kind": 0.1}


def test_without_tasks_only_the_segmentation_counts():
    balancer = build(FixedConfig(), tasks=())
    assert total(balancer, losses(segmentation=3.0)).item() == 3.0


def test_a_weight_for_an_unknown_task_is_refused():
    with pytest.raises(RequestError, match=r"'grad'.*kind"):
        build(FixedConfig(task_weights={"grad": 1.0}))


def test_two_phase_weights_over_all_epochs():
    """F35: 1.0 / 0.01 for 20 epochs, then 1.0 / 0.1."""
    balancer = build(TwoPhaseConfig(), num_epochs=40)
    series = [balancer.weights(epoch) for epoch in range(40)]
    assert [w["task:kind"] for w in series] == [0.01] * 20 + [0.1] * 20
    assert {w["segmentation"] for w in series} == {1.0}


def test_two_phase_combines_with_the_weights_of_the_epoch():
    """F35."""
    balancer = build(TwoPhaseConfig())
    terms = losses(segmentation=2.0, task__kind=10.0)
    assert total(balancer, terms, 19).item() == pytest.approx(2.1)
    assert total(balancer, terms, 20).item() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("options", "num_epochs", "switch"),
    [
        ({}, 1000, 20),
        ({"switch_epoch": 3}, 10, 3),
        ({"switch_epoch": 0}, 10, 0),
        ({"switch_fraction": 0.25}, 40, 10),
        ({"switch_fraction": 0.0}, 40, 0),
        ({"switch_fraction": 1.0}, 40, 40),
        ({"switch_fraction": 0.33}, 10, 3),
    ],
)
def test_the_switch_is_an_epoch_or_a_share_of_the_run(options, num_epochs, switch):
    """F35."""
    balancer = build(TwoPhaseConfig(**options), num_epochs=num_epochs)
    series = [balancer.weights(epoch)["task:kind"] for epoch in range(num_epochs)]
    assert series == [0.01] * switch + [0.1] * (num_epochs - switch)


def test_heads_are_isolated_in_the_first_phase_only_and_only_on_request():
    """F35."""
    isolated = build(TwoPhaseConfig(switch_epoch=2, isolate_first_phase=True))
    assert [isolated.isolates_heads(e) for e in range(4)] == [True, True, False, False]
    for config in (TwoPhaseConfig(), FixedConfig()):
        assert not any(build(config).isolates_heads(e) for e in range(40))


def test_two_phase_differs_from_fixed():
    terms = losses(segmentation=1.0, task__kind=1.0)
    totals = [total(build(c), terms).item() for c in (FixedConfig(), TwoPhaseConfig())]
    assert totals == pytest.approx([1.1, 1.01])


def test_a_weight_of_zero_keeps_the_term_in_the_graph():
    """A parameter without a gradient stops distributed training."""
    terms = losses(segmentation=1.0, task__kind=5.0)
    weighted_sum(terms, {"segmentation": 1.0, "task:kind": 0.0}).backward()
    assert terms["task:kind"].grad.item() == 0


def test_terms_the_balancer_was_not_built_for_are_our_bug():
    with pytest.raises(AssertionError):
        total(build(FixedConfig()), losses(segmentation=1.0))


def test_gradients_carry_the_scale_and_the_total_does_not():
    """F48: the fp16 scaler's factor."""
    terms = losses(segmentation=2.0, task__kind=8.0)
    assert total(build(FixedConfig()), terms, scale=torch.tensor(4.0)).item() == pytest.approx(2.8)
    assert [t.grad.item() for t in terms.values()] == pytest.approx([4.0, 0.4])


@pytest.mark.parametrize(("epoch", "segmentation"), [(0, 0.5), (50, 0.96875), (100, 1), (120, 1)])
def test_the_tasks_fade_out(epoch, segmentation):
    """F36: 1 - 0.5 * (1 - t/T)^4 at 0, T/2, T and beyond; the tasks get the rest."""
    weights = build(FadeConfig(task_weight=0.1), num_epochs=100).weights(epoch)
    assert weights["segmentation"] == pytest.approx(segmentation)
    assert weights["task:kind"] == pytest.approx(0.1 * (1 - segmentation))


def test_length_share_and_exponent_of_the_fade_are_options():
    """F36: 1 - 0.8 * (1 - 5/10)^2 = 0.8."""
    config = FadeConfig(start_share=0.8, length=10, exponent=2.0, task_weight=1.0)
    weights = build(config, num_epochs=1000).weights(5)
    assert weights == pytest.approx({"segmentation": 0.8, "task:kind": 0.2})


def test_every_kind_of_the_configuration_can_be_built():
    assert {type(config) for config in CONFIGS} == set(BUILDERS)
    assert {build(config).kind for config in CONFIGS} == {config.kind for config in CONFIGS}


def _trained(config):
    """A balancer after three epochs of four steps, and its trunk of one layer."""
    torch.manual_seed(0)
    balancer, layer = build(config), nn.Linear(3, 2)
    trunk = Trunk(parameters=tuple(layer.parameters()), anchor=tuple(layer.parameters()))
    learned = list(balancer.parameters())
    optimizer = torch.optim.SGD([*layer.parameters(), *learned], lr=0.05)
    for epoch in range(3):
        for _ in range(4):
            optimizer.zero_grad()
            out = layer(torch.randn(5, 3))
            terms = {"segmentation": out[:, 0].square().mean(), "task:kind": out[:, 1].exp().mean()}
            balancer.backward(terms, trunk, epoch=epoch, scale=ONE)
            optimizer.step()
        values = {"segmentation": 1.0 / (epoch + 1), "task:kind": 0.7, "patch_dice": 0.1}
        balancer.end_epoch({"epoch": epoch, "train": {}, "validation": values})
    return balancer


@pytest.mark.parametrize("config", CONFIGS)
def test_state_survives_json_exactly(config):
    """F38, B10: checkpoints keep it in a JSON header."""
    balancer, fresh = _trained(config), build(config)
    state = json.loads(json.dumps(balancer.state_dict(), allow_nan=False))
    fresh.load_state_dict(state)
    assert fresh.state_dict() == balancer.state_dict() == state
    assert fresh.weights(3) == balancer.weights(3)


@pytest.mark.parametrize(
    "config", [UncertaintyConfig(), DwaConfig(), GradNormConfig(), ValidationRateConfig()]
)
def test_weights_move_away_from_fixed_ones(config):
    weights = _trained(config).weights(3)
    assert abs(weights["segmentation"] - weights["task:kind"]) > 0.01


@pytest.mark.parametrize("config", CONFIGS)
def test_the_state_of_another_method_is_refused(config):
    balancer = build(config)
    state = build(DwaConfig() if balancer.kind == "gradnorm" else GradNormConfig()).state_dict()
    with pytest.raises(DataError, match=rf"the state of '{state['kind']}'.*{balancer.kind}"):
        balancer.load_state_dict(state)


@pytest.mark.parametrize(
    "config", [UncertaintyConfig(), DwaConfig(), GradNormConfig(), ValidationRateConfig()]
)
def test_the_state_of_other_tasks_is_refused(config):
    with pytest.raises(DataError, match="task:grade"):
        build(config).load_state_dict(build(config, tasks=("kind", "grade")).state_dict())


@pytest.mark.parametrize("config", CONFIGS)
def test_a_written_configuration_reads_back(config):
    adapter = TypeAdapter(BalancerConfig)
    assert adapter.validate_json(adapter.dump_json(config)) == config


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "two_phase", "switch_epoch": 3, "switch_fraction": 0.1},
        {"kind": "two_phase", "switch_epoch": -1},
        {"kind": "two_phase", "first_task_weight": -0.1},
        {"kind": "fixed", "switch_epoch": 3},
        {"kind": "fixed", "segmentation_weight": -1},
        {"kind": "nash"},
        {"kind": "fade", "start_share": 1.5},
        {"kind": "uncertainty", "bound": 0},
        {"kind": "dwa", "temperature": 0},
        {"kind": "gradnorm", "alpha": -1},
        {"kind": "validation_rate", "smoothing": 1},
        {"kind": "plateau", "patience": 0},
        {"kind": "plateau", "monitor": "dice"},
        {"kind": "gradient", "method": "cagrad"},
        {"kind": "guarded", "segmentation_weight": 0},
    ],
)
def test_senseless_options_are_refused(content):
    with pytest.raises(ValidationError):
        TypeAdapter(BalancerConfig).validate_python(content)
