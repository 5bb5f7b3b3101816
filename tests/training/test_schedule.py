import pytest

from segduet.training.config import ScheduleConfig
from segduet.training.schedule import rate_factor


def test_poly_decay_has_the_hand_worked_values():
    """F46: (1 - t)^0.9 at t = 0, 1/2 and just before the end."""
    schedule = ScheduleConfig()
    assert rate_factor(0, 100, schedule) == 1.0
    assert rate_factor(50, 100, schedule) == pytest.approx(0.5**0.9)
    assert rate_factor(99, 100, schedule) == pytest.approx(0.01**0.9)
    assert rate_factor(100, 100, schedule) == 0.0


def test_warm_up_rises_linearly_and_then_decays_from_the_top():
    """F46: ten warm-up steps of a hundred."""
    schedule = ScheduleConfig(warmup_share=0.1)
    factors = [rate_factor(step, 100, schedule) for step in range(11)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert factors[9] == 1.0
    assert factors[10] == 1.0
    assert rate_factor(55, 100, schedule) == pytest.approx(0.5**0.9)


def test_the_rate_never_rises_after_the_warm_up():
    schedule = ScheduleConfig(warmup_share=0.2)
    factors = [rate_factor(step, 50, schedule) for step in range(50)]
    assert factors[10:] == sorted(factors[10:], reverse=True)
