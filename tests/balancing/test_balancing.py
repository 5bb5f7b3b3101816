import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from segduet.balancing.config import BalancerConfig, FixedConfig, TwoPhaseConfig
from segduet.balancing.protocol import weighted_sum
from segduet.balancing.registry import build_balancer
from segduet.core.errors import DataError, RequestError

CONFIGS = [FixedConfig(), TwoPhaseConfig(), TwoPhaseConfig(isolate_first_phase=True)]


def losses(**values: float) -> dict[str, torch.Tensor]:
    return {
        name.replace("__", ":"): torch.tensor(value, requires_grad=True)
        for name, value in values.items()
    }


def build(config, tasks=("kind",), num_epochs=100):
    return build_balancer(config, tasks=tasks, num_epochs=num_epochs)


def test_fixed_total_is_the_weighted_sum_exactly():
    """F34: 0.5 * 2 + 0.25 * 8 + 4 * 1 = 7, and each gradient is its weight."""
    config = FixedConfig(segmentation_weight=0.5, task_weight=0.25, task_weights={"grade": 4.0})
    balancer = build(config, tasks=("kind", "grade"))
    terms = losses(segmentation=2.0, task__kind=8.0, task__grade=1.0)
    total = balancer.combine(terms, epoch=0)
    assert total.shape == ()
    assert total.item() == 7.0
    total.backward()
    assert [t.grad.item() for t in terms.values()] == [0.5, 0.25, 4.0]


def test_fixed_weights_do_not_depend_on_the_epoch():
    balancer = build(FixedConfig())
    assert balancer.weights(0) == balancer.weights(99) == {"segmentation": 1.0, "task:kind": 0.1}


def test_without_tasks_only_the_segmentation_counts():
    balancer = build(FixedConfig(), tasks=())
    assert balancer.combine(losses(segmentation=3.0), epoch=0).item() == 3.0


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
    assert balancer.combine(terms, epoch=19).item() == pytest.approx(2.1)
    assert balancer.combine(terms, epoch=20).item() == pytest.approx(3.0)


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
    totals = [build(c).combine(terms, epoch=0).item() for c in (FixedConfig(), TwoPhaseConfig())]
    assert totals == pytest.approx([1.1, 1.01])


def test_a_weight_of_zero_keeps_the_term_in_the_graph():
    """A parameter without a gradient stops distributed training."""
    terms = losses(segmentation=1.0, task__kind=5.0)
    weighted_sum(terms, {"segmentation": 1.0, "task:kind": 0.0}).backward()
    assert terms["task:kind"].grad.item() == 0


def test_terms_the_balancer_was_not_built_for_are_our_bug():
    with pytest.raises(AssertionError):
        build(FixedConfig()).combine(losses(segmentation=1.0), epoch=0)


@pytest.mark.parametrize("config", CONFIGS)
def test_state_round_trip_and_foreign_state(config):
    balancer = build(config)
    balancer.load_state_dict(balancer.state_dict())
    with pytest.raises(DataError, match="log_variance"):
        balancer.load_state_dict({"log_variance": [0.0]})


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
        {"kind": "gradnorm"},
    ],
)
def test_senseless_options_are_refused(content):
    with pytest.raises(ValidationError):
        TypeAdapter(BalancerConfig).validate_python(content)
