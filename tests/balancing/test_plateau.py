import pytest

from segduet.balancing.config import PlateauConfig
from segduet.balancing.registry import build_balancer
from segduet.core.errors import RequestError


def build(**options):
    config = PlateauConfig(**{"patience": 3, "min_delta": 0.01, "smoothing": 0.0, **options})
    return build_balancer(config, tasks=["kind"], num_epochs=100)


def phases(balancer, curve, first_epoch=0, monitor="patch_dice"):
    """Task weight of every epoch of a scripted curve, fed to the balancer as it goes."""
    weights = []
    for epoch, figure in enumerate(curve, start=first_epoch):
        weights.append(balancer.weights(epoch)["task:kind"])
        balancer.end_epoch({"epoch": epoch, "validation": {monitor: figure}})
    return weights


CURVE = [0.1, 0.2, 0.3, 0.4, 0.405, 0.4, 0.409, 0.9, 0.95, 0.1]


def test_it_switches_once_three_epochs_after_the_last_improvement():
    """F39: best in epoch 3, nothing by more than 0.01 in 4, 5 and 6: epoch 7 is the second phase.

    What comes then, better or worse, changes nothing.
    """
    assert phases(build(), CURVE) == [0.01] * 7 + [0.1] * 3


def test_a_curve_that_keeps_rising_never_switches():
    assert phases(build(), [0.02 * n for n in range(40)]) == [0.01] * 40


def test_a_loss_is_watched_for_falling():
    curve = [1 - figure for figure in CURVE]
    found = phases(build(monitor="segmentation"), curve, monitor="segmentation")
    assert found == [0.01] * 7 + [0.1] * 3


def test_the_average_bridges_single_bad_epochs():
    """A dip of one epoch would use up a patience of 1; its average, 0.5 each, still rises."""
    curve = [0.1, 0.5, 0.4, 0.6, 0.7]
    assert 0.1 in phases(build(patience=1), curve)
    assert phases(build(patience=1, smoothing=0.5), curve) == [0.01] * 5


@pytest.mark.parametrize("stop", range(1, len(CURVE)))
def test_it_survives_a_resume_at_any_epoch(stop):
    """F39."""
    before, after = build(), build()
    first = phases(before, CURVE[:stop])
    after.load_state_dict(before.state_dict())
    assert first + phases(after, CURVE[stop:], first_epoch=stop) == phases(build(), CURVE)


def test_epochs_without_a_figure_are_passed_over():
    with_gaps = [figure for value in CURVE for figure in (value, None)]
    assert phases(build(), with_gaps).count(0.01) == 13


def test_heads_are_isolated_until_the_switch_on_request():
    balancer = build(isolate_first_phase=True)
    phases(balancer, CURVE)
    assert [balancer.isolates_heads(epoch) for epoch in (0, 6, 7, 9)] == [True, True, False, False]


def test_without_validation_it_is_one_clear_error():
    with pytest.raises(RequestError, match=r"plateau.*patches_per_epoch"):
        build().end_epoch({"epoch": 0, "validation": {}})
