"""B02, B03: a loss for every kind of task; what is unknown teaches nothing."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn import functional

from segduet.core.errors import DataError, RequestError
from segduet.core.tasks import TaskScale, TaskSpec
from segduet.losses.classification import ClassificationLoss
from segduet.losses.config import ClassificationLossConfig
from segduet.losses.task_loss import build_task_loss

NAN = math.nan
EQUAL = ClassificationLossConfig(class_weights="equal")
BALANCED = ClassificationLossConfig()
SUBTYPE = TaskSpec(name="subtype", classes=("a", "b", "c"))
CANCER = TaskSpec(name="cancer", kind="binary", classes=("no", "yes"))
FINDINGS = TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass"))
GRADE = TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high"))
SIZE = TaskSpec(name="size", kind="regression", scale=TaskScale(mean=20.0, sd=4.0))

#: Task -> training targets, one row per case; every class occurs.
TRAINING = {
    SUBTYPE: [[0], [0], [1], [2], [NAN]],
    CANCER: [[0], [0], [0], [1]],
    FINDINGS: [[0, 1], [0, 0], [0, 1], [1, 1], [NAN, NAN]],
    GRADE: [[0], [0], [1], [2]],
    SIZE: [[16], [24], [NAN]],
}


def built(task: TaskSpec, config: ClassificationLossConfig = EQUAL) -> torch.nn.Module:
    return build_task_loss(task, np.array(TRAINING[task], dtype=np.float32), config)


def value(loss, outputs, targets, evidence=None) -> float:
    weights = None if evidence is None else torch.tensor(evidence)
    return float(loss(torch.tensor(outputs), torch.tensor(targets), weights))


def batch(task: TaskSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs with gradients and known targets of five cases."""
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(5, task.num_outputs, generator=generator).requires_grad_()
    known = [row for row in TRAINING[task] if not np.isnan(row).any()]
    return outputs, torch.tensor((known * 5)[:5], dtype=torch.float32)


def detached_batch(task: TaskSpec) -> tuple[torch.Tensor, torch.Tensor]:
    outputs, targets = batch(task)
    return outputs.detach(), targets


@pytest.mark.parametrize("task", TRAINING)
@pytest.mark.parametrize("config", [EQUAL, BALANCED])
def test_unknown_targets_have_a_gradient_of_exactly_zero(task, config):
    outputs, targets = batch(task)
    targets[[1, 3]] = NAN
    loss = built(task, config)
    total = loss(outputs, targets, torch.ones(5))
    total.backward()
    outputs.requires_grad_(False)
    assert torch.equal(outputs.grad[[1, 3]], torch.zeros(2, task.num_outputs))
    assert (outputs.grad[[0, 2, 4]].abs().sum(1) > 0).all()
    kept = [0, 2, 4]
    remaining = float(loss(outputs[kept], targets[kept]))
    assert float(total.detach()) == pytest.approx(remaining, abs=1e-6)


@pytest.mark.parametrize("task", TRAINING)
def test_a_batch_of_unknowns_has_loss_and_gradient_zero(task):
    outputs, targets = batch(task)
    total = built(task)(outputs, torch.full_like(targets, NAN), torch.ones(5))
    total.backward()
    assert float(total.detach()) == 0
    assert torch.equal(outputs.grad, torch.zeros_like(outputs))


@pytest.mark.parametrize("task", TRAINING)
def test_evidence_weighs_windows_and_its_scale_does_not_matter(task):
    """Weight 2 counts like the window twice; half of every weight changes nothing."""
    outputs, targets = detached_batch(task)
    loss = built(task, BALANCED)
    weighed = loss(outputs, targets, torch.tensor([2.0, 1, 1, 1, 0]))
    order = [0, 0, 1, 2, 3]
    assert float(weighed) == pytest.approx(float(loss(outputs[order], targets[order])), abs=1e-6)
    halved = loss(outputs, targets, torch.tensor([1.0, 0.5, 0.5, 0.5, 0]))
    assert float(halved) == pytest.approx(float(weighed), abs=1e-6)


@pytest.mark.parametrize("task", TRAINING)
def test_learning_brings_the_loss_of_a_batch_near_its_least(task):
    outputs, targets = batch(task)
    loss = built(task, BALANCED)
    before = float(loss(outputs.detach(), targets))
    for _ in range(200):
        slope = torch.autograd.grad(loss(outputs, targets), outputs)[0]
        outputs = (outputs - 2.0 * slope).detach().requires_grad_()
    assert float(loss(outputs.detach(), targets)) < 0.1 * before


def test_multiclass_is_the_classification_loss_itself():
    """Two of a, one each of b and c: weights 2/3, 4/3, 4/3."""
    outputs = torch.tensor([[1.0, -1.0, 0.5], [0.0, 0.3, 2.0]])
    direct = ClassificationLoss([2 / 3, 4 / 3, 4 / 3])(outputs, torch.tensor([0, 2]))
    assert value(built(SUBTYPE, BALANCED), outputs.tolist(), [[0.0], [2.0]]) == float(direct)


def test_binary_is_binary_cross_entropy():
    outputs, targets = [[0.3], [-1.2], [2.0]], [[1.0], [0.0], [0.0]]
    expected = functional.binary_cross_entropy_with_logits(
        torch.tensor(outputs), torch.tensor(targets)
    )
    assert value(built(CANCER), outputs, targets) == pytest.approx(float(expected), abs=1e-6)


def test_balanced_binary_weighs_the_rare_class_three_times_the_common_one():
    """Three no, one yes: at logit 0 every term is log 2; a yes pulls three times as hard."""
    outputs = torch.zeros(2, 1, requires_grad=True)
    built(CANCER, BALANCED)(outputs, torch.tensor([[0.0], [1.0]])).backward()
    assert outputs.grad[1, 0] / outputs.grad[0, 0] == pytest.approx(-3.0)


def test_multilabel_is_the_mean_over_findings_as_scikit_learn_has_it():
    outputs = torch.tensor([[0.5, -1.0], [1.5, 0.2], [-0.3, 0.8]])
    targets = [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    chances = torch.sigmoid(outputs).double().numpy()
    expected = np.mean([log_loss(np.array(targets)[:, k], chances[:, k]) for k in range(2)])
    assert value(built(FINDINGS), outputs.tolist(), targets) == pytest.approx(expected, abs=1e-6)


def test_balanced_findings_weigh_cases_with_and_without_alike():
    """Cyst: 3 without, 1 with: weights 4/6, 2; mass: 1 without, 3 with: 2, 4/6."""
    loss = built(FINDINGS, BALANCED)
    assert loss.pair_weights.numpy() == pytest.approx(np.array([[2 / 3, 2], [2, 2 / 3]]))
    # one case with the cyst only: weights 2 and 2, terms log(1 + e^-1) and log(1 + e^1)
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    assert value(loss, [[1.0, 1.0]], [[1.0, 0.0]]) == pytest.approx(expected, abs=1e-6)


def test_one_unknown_finding_leaves_the_others_to_learn():
    outputs = torch.zeros(1, 2, requires_grad=True)
    built(FINDINGS)(outputs, torch.tensor([[NAN, 1.0]])).backward()
    assert outputs.grad[0, 0] == 0
    assert outputs.grad[0, 1] == pytest.approx(-0.5)


def test_ordinal_is_the_mean_over_steps():
    """True class mid: above low (logit 2) and not above mid (logit 1)."""
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2
    assert value(built(GRADE), [[2.0, 1.0]], [[1.0]]) == pytest.approx(expected, abs=1e-6)


def test_ordinal_costs_more_the_further_it_is_off_and_multiclass_does_not():
    certain = {"low": [-4.0, -4.0], "mid": [4.0, -4.0], "high": [4.0, 4.0]}
    costs = [value(built(GRADE), [certain[name]], [[2.0]]) for name in ("high", "mid", "low")]
    assert costs[0] < costs[1] < costs[2]
    assert costs[2] == pytest.approx(math.log1p(math.exp(4)), abs=1e-5)
    wrong = [value(built(SUBTYPE), [row], [[2.0]]) for row in ([0.0, 4.0, 0.0], [4.0, 0.0, 0.0])]
    assert wrong[0] == wrong[1]


def test_balanced_ordinal_weighs_cases_by_class():
    """Two low, one mid, one high: 2/3, 4/3, 4/3."""
    assert built(GRADE, BALANCED).class_weights.tolist() == pytest.approx([2 / 3, 4 / 3, 4 / 3])


def test_regression_is_smooth_l1_of_z_scores():
    """22 is z = 0.5: 0.125 from output 0; 32 is z = 3: 2.5 from output 0; mean 1.3125."""
    assert value(built(SIZE), [[0.0], [0.0]], [[22.0], [32.0]]) == pytest.approx(1.3125)
    assert value(built(SIZE), [[0.5], [3.0]], [[22.0], [32.0]]) == 0


@pytest.mark.parametrize("task", [CANCER, FINDINGS, GRADE])
def test_focal_and_smoothing_act_as_for_two_classes(task):
    """Against the classification loss on the logits 0 and z of every question."""
    config = ClassificationLossConfig(
        class_weights="equal", kind="focal", focal_gamma=1.5, label_smoothing=0.1
    )
    outputs, targets = detached_batch(task)
    steps = torch.arange(task.num_outputs)
    answers = targets if task is FINDINGS else (targets > steps).float()
    pairs = torch.stack([torch.zeros_like(outputs), outputs], -1).reshape(-1, 2)
    direct = ClassificationLoss([1, 1], label_smoothing=0.1, focal_gamma=1.5)
    expected = direct(pairs, answers.reshape(-1).long())
    found = built(task, config)(outputs, targets)
    assert float(found) == pytest.approx(float(expected), abs=1e-6)
    assert float(found) != pytest.approx(float(built(task)(outputs, targets)), abs=1e-3)


@pytest.mark.parametrize(("task", "offset"), [(CANCER, [1 / 3]), (FINDINGS, [1 / 3, 3])])
def test_logit_adjustment_adds_the_log_odds_of_the_training_cases(task, offset):
    adjusted = ClassificationLossConfig(class_weights="equal", logit_adjustment=1.0)
    outputs, targets = detached_batch(task)
    shifted = outputs + torch.log(torch.tensor(offset))
    expected = built(task)(shifted, targets)
    assert float(built(task, adjusted)(outputs, targets)) == pytest.approx(
        float(expected), abs=1e-6
    )


@pytest.mark.parametrize(
    ("task", "targets", "message"),
    [
        (SUBTYPE, [[0], [1], [NAN]], r"task 'subtype', .*class counts \[1, 1, 0\]"),
        (CANCER, [[NAN], [NAN]], "task 'cancer', .*not a single case"),
        (GRADE, [[0], [2]], r"task 'grade', .*class counts \[1, 0, 1\]"),
        (GRADE, [[NAN]], "task 'grade', .*not a single case"),
        (FINDINGS, [[0, 1], [0, 0]], r"without and with 'cyst': found class counts \[2, 0\]"),
        (FINDINGS, [[NAN, NAN]], "with 'cyst': found not a single case"),
    ],
)
def test_a_class_or_task_nobody_has_is_refused_by_name(task, targets, message):
    with pytest.raises(DataError, match=message):
        build_task_loss(task, np.array(targets, dtype=np.float32), BALANCED)


def test_logit_adjustment_of_steps_is_refused():
    with pytest.raises(RequestError, match="logit_adjustment: found 1 for an ordinal task"):
        built(GRADE, ClassificationLossConfig(logit_adjustment=1.0))
