import logging
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from segduet.core.tasks import TaskSpec
from segduet.training.collapse import ClassCounts
from segduet.training.config import Recipe
from segduet.training.interference import InterferenceMonitor, alarms, compare_gradients
from segduet.training.interference_config import InterferenceConfig
from segduet.training.loop import train

ONE = torch.ones(())


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ((0.0, 2.0), (0.0, 0.5)),
        ((8.0, 0.0), (1.0, 2.0)),
        ((-3.0, 3.0), (-math.sqrt(0.5), math.sqrt(18) / 4)),
    ],
)
def test_cosine_and_norm_ratio_by_hand(task, expected):
    """B08."""
    assert compare_gradients(torch.tensor([4.0, 0.0]), torch.tensor(task)) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("task", [(0.0, 0.0), (math.nan, 1.0), (math.inf, 1.0)])
def test_gradients_without_a_direction_are_not_compared(task):
    assert compare_gradients(torch.tensor([4.0, 0.0]), torch.tensor(task)) is None
    assert compare_gradients(torch.tensor(task), torch.tensor([4.0, 0.0])) is None


class Toy:
    """Terms with given gradients at one parameter of two numbers."""

    def __init__(self):
        self.encoder = nn.Parameter(torch.zeros(2))

    def losses(self, segmentation, task):
        rows = {"segmentation": segmentation, "task:kind": task}
        return {name: torch.tensor(row) @ self.encoder + 1 for name, row in rows.items()}

    def observe(self, monitor, segmentation=(4.0, 0.0), task=(-3.0, 3.0), known=1.0, scale=ONE):
        losses = self.losses(segmentation, task)
        losses["task:kind"] = known * losses["task:kind"]
        weights = {"segmentation": 1.0, "task:kind": 0.5}
        monitor.observe_gradients(losses, [self.encoder], weights, scale=scale)


def finished(monitor, history=()):
    record = {"epoch": len(history)}
    monitor.finish(record, history)
    return record


def test_every_nth_step_is_measured_with_the_balancers_weights():
    """B08: steps 0 and 2 of 4: cosines -0.71 and 1; norms 0.5 * 4.24 / 4 and 0.5 * 2 / 4."""
    monitor, toy = InterferenceMonitor(InterferenceConfig(every_steps=2), []), Toy()
    for task in ((-3.0, 3.0), (9.0, 9.0), (2.0, 0.0), (9.0, 9.0)):
        toy.observe(monitor, task=task)
    figures = finished(monitor)["interference"]["kind"]
    assert figures["cosine"] == pytest.approx((1 - math.sqrt(0.5)) / 2)
    assert figures["norm_ratio"] == pytest.approx((math.sqrt(18) / 8 + 0.25) / 2)


def test_the_scaler_changes_no_figure_and_an_overflow_is_passed_over():
    plain, scaled = (InterferenceMonitor(InterferenceConfig(every_steps=1), []) for _ in range(2))
    Toy().observe(plain)
    Toy().observe(scaled, scale=torch.tensor(4096.0))
    Toy().observe(scaled, scale=torch.tensor(math.inf))
    assert finished(plain) == finished(scaled)


def test_a_task_unknown_in_the_batch_is_not_measured():
    """B03: and 0 switches measuring off."""
    for config, known in ((InterferenceConfig(), 0.0), (InterferenceConfig(every_steps=0), 1.0)):
        monitor = InterferenceMonitor(config, [])
        Toy().observe(monitor, known=known)
        assert finished(monitor)["interference"] == {}


def test_a_term_that_stands_alone_costs_no_backward_pass(monkeypatch):
    """As in a training of masks alone: there is nothing to compare it with."""

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr("segduet.training.interference._gradient", refuse)
    monitor = InterferenceMonitor(InterferenceConfig(every_steps=1), [])
    Toy().observe(monitor, known=0.0)
    assert finished(monitor)["interference"] == {}


def test_a_collapse_is_counted_over_windows_of_known_class():
    """B08: 3 of 4 known windows are called class 2; of the labels half are class 0."""
    counts = ClassCounts()
    counts.add("kind", np.array([2, 2, 1]), np.array([0, 1, math.nan]))
    counts.add("kind", np.array([2, 0]), np.array([0, 2]))
    counts.add("grade", np.array([1]), np.array([math.nan]))
    assert counts.record() == {"kind": {"share": 0.75, "class": 2, "label_share": 0.5}}


def test_a_binary_head_of_one_logit_is_not_taken_for_a_collapse():
    """B02, B08: classes are decided as answers are; findings and values are not classes."""
    grade = TaskSpec(name="grade", kind="binary", classes=("low", "high"))
    size = TaskSpec(name="size", kind="regression")
    monitor = InterferenceMonitor(InterferenceConfig(), [grade, size])
    logits = {"grade": torch.tensor([[-2.0], [3.0], [1.0]]), "size": torch.zeros(3, 1)}
    targets = {"grade": torch.tensor([[0.0], [1.0], [math.nan]]), "size": torch.ones(3, 1)}
    monitor.observe_answers(logits, targets)
    assert finished(monitor)["collapse"] == {
        "grade": {"share": 0.5, "class": 0, "label_share": 0.5}
    }


def history(cosines=(), shares=(), label_share=0.5):
    size = max(len(cosines), len(shares))
    cosines, shares = cosines or (0.0,) * size, shares or (0.5,) * size
    return [
        {
            "epoch": epoch,
            "interference": {"kind": {"cosine": cosine, "norm_ratio": 1.0}},
            "collapse": {"kind": {"share": share, "class": 0, "label_share": label_share}},
        }
        for epoch, (cosine, share) in enumerate(zip(cosines, shares, strict=True))
    ]


CONFIG = InterferenceConfig(cosine_below=-0.2, collapse_share=0.9, epochs=3)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (history(cosines=(-0.3, -0.3, -0.3)), ["oppose"]),
        (history(cosines=(-0.3, -0.1, -0.3, -0.3)), []),
        (history(cosines=(0.9, -0.3, -0.3, -0.3)), ["oppose"]),
        (history(cosines=(-0.3, -0.3)), []),
        (history(shares=(0.91, 1.0, 0.95)), ["collapsed"]),
        (history(shares=(0.91, 0.9, 0.95)), []),
        (history(shares=(1.0, 1.0, 1.0), label_share=0.92), []),
        (history(cosines=(-1.0,) * 3, shares=(1.0,) * 3), ["oppose", "collapsed"]),
    ],
)
def test_an_alarm_needs_three_bad_epochs_in_a_row(records, expected):
    """B08: cosine below -0.2; one class above 0.9 of the answers where the labels differ more."""
    found = alarms(records, CONFIG)
    assert [word for text in found for word in ("oppose", "collapsed") if word in text] == expected
    assert all("'kind'" in text for text in found)


def test_a_new_alarm_is_logged_once_and_recorded_while_it_lasts(caplog):
    """B08."""
    caplog.set_level(logging.WARNING)
    records = []
    for _ in range(5):
        monitor = InterferenceMonitor(InterferenceConfig(epochs=3), [])
        Toy().observe(monitor)
        records.append(finished(monitor, records))
    assert ["alarms" in record for record in records] == [False, False, True, True, True]
    assert len(caplog.records) == 1
    assert "epoch 2" in caplog.text
    assert "guarded" in caplog.text


def test_measuring_changes_no_weight_and_reaches_the_record(make_job, tmp_path):
    """B08: the figures of every epoch; the training is bit for bit the same without them."""
    states = [
        train(make_job(folder=tmp_path / name, interference=settings, epochs=2), resume=False)
        for name, settings in (("on", {"every_steps": 1}), ("off", {"every_steps": 0}))
    ]
    for record in states[0].history:
        figures = record["interference"]["kind"]
        assert -1 <= figures["cosine"] <= 1
        assert figures["norm_ratio"] > 0
        assert set(record["collapse"]["kind"]) == {"share", "class", "label_share"}
    assert all(record["interference"] == {} for record in states[1].history)
    pairs = zip(*(state.network.parameters() for state in states), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_isolated_heads_leave_nothing_to_measure(make_job):
    balancing = {"kind": "two_phase", "isolate_first_phase": True, "switch_epoch": 1}
    state = train(make_job(balancing=balancing, epochs=2), resume=False)
    assert [list(record["interference"]) for record in state.history] == [[], ["kind"]]


@pytest.mark.parametrize(
    "settings",
    [
        {"every_steps": -1},
        {"collapse_share": 0},
        {"cosine_below": -1.5},
        {"epochs": 0},
        {"every_steps": 0, "cosine_below": -0.3},
    ],
)
def test_senseless_options_are_refused(settings):
    with pytest.raises(ValidationError):
        InterferenceConfig.model_validate(settings)


@pytest.mark.parametrize("kind", ["plateau", "validation_rate"])
def test_balancing_by_validation_needs_validation_patches(kind):
    """F38, F39: refused in the recipe already."""
    with pytest.raises(ValidationError, match=f"{kind} needs validation.patches_per_epoch"):
        Recipe.model_validate({"balancing": {"kind": kind}, "validation": {"patches_per_epoch": 0}})
