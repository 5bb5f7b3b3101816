import math

import pytest
from pydantic import ValidationError

from segduet.training.config import OptimizerConfig, ScheduleConfig
from segduet.training.optimizers import build_optimizer, set_rate
from segduet.training.schedule import rate_factor


def test_poly_decay_has_the_hand_worked_values():
    """F46: (1 - t)^0.9 at t = 0, 1/2 and just before the end."""
    schedule = ScheduleConfig()
    assert rate_factor(0, 100, schedule) == 1.0
    assert rate_factor(50, 100, schedule) == pytest.approx(0.5**0.9)
    assert rate_factor(99, 100, schedule) == pytest.approx(0.01**0.9)
    assert rate_factor(100, 100, schedule) == 0.0


def test_cosine_decay_has_the_hand_worked_values():
    """F46: 1, cos^2(22.5 deg), 1/2, sin^2(22.5 deg), 0 at the quarters."""
    schedule = ScheduleConfig(kind="cosine")
    factors = [rate_factor(step, 100, schedule) for step in (0, 25, 50, 75, 100)]
    assert factors == pytest.approx([1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4, 0])


def test_constant_stays_at_the_top_to_the_end():
    """F46."""
    schedule = ScheduleConfig(kind="constant")
    assert {rate_factor(step, 100, schedule) for step in range(100)} == {1.0}


@pytest.mark.parametrize(
    ("kind", "middle", "last"),
    [
        ("poly", 0.5**0.9, (1 / 90) ** 0.9),
        ("cosine", 0.5, (1 - math.cos(math.pi / 90)) / 2),
        ("constant", 1, 1),
    ],
)
def test_warm_up_rises_linearly_and_then_every_kind_starts_at_the_top(kind, middle, last):
    """F46: ten warm-up steps of a hundred; 0, warm-up end, middle of the rest, end."""
    schedule = ScheduleConfig(kind=kind, warmup_share=0.1)
    factors = [rate_factor(step, 100, schedule) for step in range(100)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert factors[9] == 1.0
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(middle)
    assert factors[99] == pytest.approx(last)


@pytest.mark.parametrize("kind", ["poly", "cosine", "constant"])
def test_the_rate_never_rises_after_the_warm_up(kind):
    schedule = ScheduleConfig(kind=kind, warmup_share=0.2)
    factors = [rate_factor(step, 50, schedule) for step in range(50)]
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_two_schedules_differ():
    """F46: the kind acts."""
    poly, cosine, constant = (
        rate_factor(80, 100, ScheduleConfig(kind=kind)) for kind in ("poly", "cosine", "constant")
    )
    assert cosine < poly < constant


def test_every_group_follows_the_schedule_times_its_own_factor(make_job):
    """F46, F47: over a whole training, encoder : heads stays 1 : 4."""
    config = OptimizerConfig(learning_rate=0.2, rate_factors={"encoder": 0.25})
    optimizer = build_optimizer(make_job().network, config)
    schedule = ScheduleConfig(kind="cosine", warmup_share=0.1)
    for step in range(30):
        factor = rate_factor(step, 30, schedule)
        set_rate(optimizer, factor)
        rates = {g["part"]: g["lr"] for g in optimizer.param_groups}
        expected = {"encoder": 0.05 * factor, "decoder": 0.2 * factor, "heads": 0.2 * factor}
        assert rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "cosine", "power": 2.0}, "power has no effect on a cosine schedule"),
        ({"kind": "linear"}, "poly"),
        ({"warmup_share": 1.0}, "less than 1"),
    ],
)
def test_settings_without_effect_or_sense_are_refused(settings, message):
    """F46: bad input."""
    with pytest.raises(ValidationError, match=message):
        ScheduleConfig(**settings)
