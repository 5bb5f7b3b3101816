"""F50: stops at the expected epoch, anneals, ends, and resumes bit for bit."""

import dataclasses

import pytest
import torch
from pydantic import ValidationError

from segduet.core.errors import RequestError
from segduet.training.config import Recipe
from segduet.training.early_stopping import PlateauStopping, PlateauWatch, anneal_factor
from segduet.training.loop import train
from segduet.training.tensors import unique_tensors

#: One score per epoch: the best is that of epoch 2; patience 2 ends after epoch 4.
SCORES = (0.5, 0.6, 0.6, 0.55, 0.9, 0.9, 0.9, 0.9)


def _stopped_epoch(values, section="validation", name="loss", **settings):
    """Epochs finished when the plateau is found; None where it is not."""
    config = PlateauStopping(kind="plateau", **{"smoothing": 0.0, **settings})
    watch = PlateauWatch(config=config)
    for finished, value in enumerate(values, start=1):
        watch.observe({section: {name: value}}, finished_epochs=finished)
    return watch.stopped_epoch


def test_a_scripted_loss_stops_at_the_expected_epoch():
    """Best after epoch 3; three epochs without a better one end after epoch 6."""
    curve = [1.0, 0.8, 0.7, 0.75, 0.71, 0.72, 0.1, 0.1]
    assert _stopped_epoch(curve, patience=3) == 6
    assert _stopped_epoch(curve, patience=4) is None  # 0.1 comes just in time


def test_a_curve_that_keeps_falling_never_stops():
    assert _stopped_epoch([1.0 / n for n in range(1, 50)], patience=1) is None


def test_improvements_up_to_min_delta_do_not_count():
    """0.01 better each epoch: enough for 0.005, not for 0.05 (best stays at epoch 1)."""
    curve = [1.0, 0.99, 0.98, 0.97]
    assert _stopped_epoch(curve, patience=2, min_delta=0.005) is None
    assert _stopped_epoch(curve, patience=2, min_delta=0.05) == 3


def test_scores_are_better_when_higher():
    rising = [0.1, 0.2, 0.3, 0.4]
    place = {"section": "full_case", "name": "score"}
    assert _stopped_epoch(rising, **place, monitor="joint_score", patience=2) is None
    assert _stopped_epoch(rising[::-1], **place, monitor="joint_score", patience=2) == 3
    assert _stopped_epoch(rising, patience=2) == 3  # the same figures as a loss


def test_a_smoothed_curve_forgives_a_lucky_epoch():
    """One outlier sets an unbeatable best; smoothed by 0.9 the curve goes on falling."""
    curve = [1.0, 0.2, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert _stopped_epoch(curve, patience=3) == 5
    assert _stopped_epoch(curve, patience=3, smoothing=0.9) is None


def test_the_moving_average_follows_the_hand_worked_recursion():
    watch = PlateauWatch(config=PlateauStopping(kind="plateau", smoothing=0.75))
    for finished, value in enumerate([1.0, 2.0, 0.0], start=1):
        watch.observe({"validation": {"loss": value}}, finished_epochs=finished)
    assert watch.smoothed == pytest.approx(0.75 * (0.75 * 1 + 0.25 * 2))  # 1 -> 1.25 -> 0.9375


def test_epochs_without_the_figure_count_for_the_patience_once_there_is_one():
    missing = [None, None, None, float("nan")]
    assert _stopped_epoch(missing, patience=1) is None
    assert _stopped_epoch([None, 0.5, None, None], patience=2) == 4


def test_annealing_is_a_straight_line_to_zero_past_the_end():
    factors = [anneal_factor(step, first_step=10, last_step=14) for step in range(10, 14)]
    assert factors == [1.0, 0.75, 0.5, 0.25]


def _job(make_job, *, first_epoch=0, early_stopping=None, **settings):
    stopping = {
        "kind": "plateau",
        "monitor": "joint_score",
        "smoothing": 0.0,
        "patience": 2,
        "anneal_epochs": 2,
    }
    job = make_job(
        epochs=8,
        steps_per_epoch=2,
        optimizer={"name": "adamw", "learning_rate": 1e-2},
        validation={"full_cases_every": 1, "patches_per_epoch": 2},
        early_stopping=early_stopping or stopping,
        **settings,
    )
    scores = iter(SCORES[first_epoch:])
    return dataclasses.replace(job, validate_full=lambda _network: {"score": next(scores)})


def test_a_training_really_ends_after_annealing(make_job):
    """Found after epoch 4, two epochs of annealing: 6 of 8 epochs, 12 of 16 steps, then done."""
    steps = []
    job = dataclasses.replace(_job(make_job), on_progress=steps.append)
    state = train(job, resume=False)
    assert (state.epoch, state.num_epochs, state.is_finished) == (6, 6, True)
    assert [len(state.history), steps[-1].step, steps[-1].num_steps] == [6, 12, 12]
    assert steps[-1].seconds_left == 0
    at_stop = 1e-2 * (1 - 8 / 16) ** 0.9  # the schedule's rate at step 8
    rates = [record["learning_rate"] for record in state.history]
    assert rates[4:] == pytest.approx([at_stop * 0.75, at_stop * 0.25])  # steps 9 and 11 of 8..12
    assert "stopped after epoch 4" in state.history[3]["early_stopping"]["reason"]
    assert "epoch 2" in state.history[3]["early_stopping"]["reason"]
    assert state.history[2]["early_stopping"]["reason"] == ""


def test_switched_off_the_same_training_runs_to_its_end(make_job):
    state = train(_job(make_job, early_stopping={"kind": "off"}), resume=False)
    assert (state.epoch, state.is_finished) == (8, True)
    assert state.history[-1]["learning_rate"] == pytest.approx(1e-2 * (1 / 16) ** 0.9)
    assert "early_stopping" not in state.history[-1]


@pytest.mark.parametrize("until_epoch", [3, 5])
def test_a_stopped_training_resumes_bit_for_bit(make_job, tmp_path, until_epoch):
    """B10: interrupted while it loses patience, and while it anneals."""
    whole = train(_job(make_job, folder=tmp_path / "whole"), resume=False)
    folder = tmp_path / "parts"
    first = train(_job(make_job, folder=folder, until_epoch=until_epoch), resume=False)
    assert not first.is_finished
    rest = _job(make_job, folder=folder, first_epoch=until_epoch)
    parts = train(rest, resume=True)
    expected = unique_tensors(whole.model)
    assert all(torch.equal(expected[k], v) for k, v in unique_tensors(parts.model).items())
    drop = {"seconds"}
    assert [{k: v for k, v in r.items() if k not in drop} for r in parts.history] == [
        {k: v for k, v in r.items() if k not in drop} for r in whole.history
    ]
    again = train(rest, resume=True)  # finished is finished
    assert (again.epoch, again.is_finished) == (6, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"early_stopping": {"kind": "plateau", "monitor": "joint_score"}}, "full_cases_every"),
        (
            {"early_stopping": {"kind": "plateau"}, "validation": {"patches_per_epoch": 0}},
            "patches_per_epoch",
        ),
        (
            {"early_stopping": {"kind": "plateau"}, "balancing": {"kind": "two_phase"}},
            "fixed balancing",
        ),
        ({"early_stopping": {"kind": "plateau"}, "averaging": {"kind": "swa"}}, "averaging ema"),
        ({"early_stopping": {"kind": "off", "patience": 3}}, "patience"),
        ({"early_stopping": {"kind": "plateau", "patience": 0}}, "patience"),
    ],
)
def test_what_could_not_act_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(settings)


def test_a_fold_without_validation_cases_cannot_stop_early(make_job):
    job = dataclasses.replace(_job(make_job), validation_patches=None)
    with pytest.raises(RequestError, match=r"early_stopping.*without validation cases"):
        train(job, resume=False)
