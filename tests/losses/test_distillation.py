"""F70: what a student is told by a teacher, worked by hand and against torch's own divergences."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence
from torch.nn import functional

from segduet.core.tasks import TaskScale, TaskSpec
from segduet.losses.distillation import distilled_answer, distilled_features, distilled_masks

SUBTYPE = TaskSpec(name="subtype", classes=("a", "b", "c"))
CANCER = TaskSpec(name="cancer", kind="binary", classes=("no", "yes"))
FINDINGS = TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass"))
GRADE = TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high"))
SIZE = TaskSpec(name="size", kind="regression", scale=TaskScale(mean=20.0, sd=4.0))
TASKS = [SUBTYPE, CANCER, FINDINGS, GRADE, SIZE]


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def answers(task: TaskSpec, student, *teachers, evidence=None, temperature=1.0) -> torch.Tensor:
    weights = torch.ones(len(student)) if evidence is None else torch.tensor(evidence)
    return distilled_answer(
        task, student, list(teachers), evidence=weights, temperature=temperature
    )


def masks(student, teacher, *, has_regions=False, temperature=1.0) -> torch.Tensor:
    return distilled_masks(student, teacher, has_regions=has_regions, temperature=temperature)


def test_plain_labels_by_hand():
    """Student (1/2, 1/2), teacher (3/4, 1/4): 3/4 ln 3/2 + 1/4 ln 1/2, in every voxel."""
    student, teacher = torch.zeros(2, 2, 1, 3), torch.zeros(2, 2, 1, 3)
    teacher[:, 0] = math.log(3)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(masks(student, teacher)) == pytest.approx(expected, rel=1e-6)


def test_the_temperature_by_hand():
    """T = 2 makes the odds of 3 those of sqrt 3; the divergence counts 4 times."""
    student, teacher = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)
    teacher[:, 0] = math.log(3)
    p = math.sqrt(3) / (1 + math.sqrt(3))
    expected = 4 * (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))
    assert float(masks(student, teacher, temperature=2.0)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_plain_labels_agree_with_torch(temperature):
    student, teacher = drawn(0, 2, 3, 4, 5), drawn(1, 2, 3, 4, 5)
    rows = [z.movedim(1, -1).reshape(-1, 3) / temperature for z in (student, teacher)]
    expected = functional.kl_div(rows[0].log_softmax(1), rows[1].softmax(1), reduction="batchmean")
    found = masks(student, teacher, temperature=temperature)
    torch.testing.assert_close(found, expected * temperature**2)


def test_regions_agree_with_torch():
    """Mean over voxels and regions of the divergence of two yes-or-no answers."""
    student, teacher = drawn(0, 2, 3, 4, 5), drawn(1, 2, 3, 4, 5)
    apart = kl_divergence(Bernoulli(logits=teacher / 2), Bernoulli(logits=student / 2))
    found = masks(student, teacher, has_regions=True, temperature=2.0)
    torch.testing.assert_close(found, 4 * apart.mean())


@pytest.mark.parametrize("has_regions", [False, True])
def test_masks_that_agree_cost_nothing(has_regions):
    student = drawn(0, 2, 3, 4).requires_grad_()
    loss = masks(student, student.detach().clone(), has_regions=has_regions, temperature=2.5)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-9)
    assert student.grad.abs().max() < 1e-7


def test_a_hot_temperature_compares_logits():
    """Hinton et al. 2015, equation 4: for T to infinity the gradient is that of squared
    differences of logits without their mean, here per voxel: (z - v) / K.
    """
    student = drawn(0, 1, 3, 7).requires_grad_()
    teacher = drawn(1, 1, 3, 7)
    loss = masks(student, teacher, temperature=50.0)
    loss.backward()
    apart = student.detach() - teacher
    apart = apart - apart.mean(1, keepdim=True)
    assert float(loss.detach()) == pytest.approx(float(apart.square().sum(1).mean() / 6), rel=0.05)
    torch.testing.assert_close(student.grad, apart / 3 / 7, atol=3e-3, rtol=0)


def test_extreme_logits_stay_finite():
    student = torch.tensor([[200.0, -200.0, 0.0]]).reshape(1, 3, 1).requires_grad_()
    for has_regions in (False, True):
        loss = masks(student, -student.detach(), has_regions=has_regions)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("task", TASKS)
def test_answers_that_agree_cost_nothing(task):
    outputs = drawn(2, 4, task.num_outputs).requires_grad_()
    loss = answers(task, outputs, outputs.detach().clone(), temperature=3.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-9)
    assert outputs.grad.abs().max() < 1e-7


@pytest.mark.parametrize("task", TASKS)
def test_every_kind_moves_the_student_towards_the_teacher(task):
    """A step against the gradient lowers the loss, and the loss is positive."""
    student, teacher = drawn(3, 4, task.num_outputs).requires_grad_(), drawn(4, 4, task.num_outputs)
    before = answers(task, student, teacher)
    before.backward()
    after = answers(task, (student - 0.1 * student.grad).detach(), teacher)
    assert 0 < float(after) < float(before.detach())


def test_one_logit_is_a_softmax_against_zero():
    student, teacher = drawn(5, 6, 1), drawn(6, 6, 1)
    two = TaskSpec(name="two", classes=("no", "yes"))
    padded = [functional.pad(z, (1, 0)) for z in (student, teacher)]
    found = answers(CANCER, student, teacher, temperature=2.0)
    torch.testing.assert_close(found, answers(two, *padded, temperature=2.0))


def test_findings_and_steps_are_averaged():
    """Two outputs, of which one agrees: half of the other's divergence."""
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3), 0.0]])
    one = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    for task in (FINDINGS, GRADE):
        assert float(answers(task, student, teacher)) == pytest.approx(one / 2, rel=1e-6)


def test_a_number_is_compared_as_it_is():
    """Squared difference of z-scores to the mean of both networks; temperature has no part."""
    student, first, second = (torch.tensor([[v]]) for v in (1.0, 2.0, 4.0))
    assert float(answers(SIZE, student, first, second)) == pytest.approx(4.0)
    assert float(answers(SIZE, student, first, second, temperature=5.0)) == pytest.approx(4.0)


def test_networks_of_a_teacher_are_averaged_as_probabilities():
    """Certain of a and certain of b together mean one half each, as in prediction."""
    student = torch.zeros(1, 3)
    sure = torch.tensor([[60.0, 0.0, 0.0]]), torch.tensor([[0.0, 60.0, 0.0]])
    expected = 0.5 * math.log(1.5) * 2
    assert float(answers(SUBTYPE, student, *sure)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_evidence_weighs_windows(task):
    """A window of weight 0 has a gradient of exactly 0; the scale of all weights has no effect."""
    student, teacher = drawn(7, 3, task.num_outputs).requires_grad_(), drawn(8, 3, task.num_outputs)
    loss = answers(task, student, teacher, evidence=[0.5, 0.0, 0.25])
    loss.backward()
    assert torch.equal(student.grad[1], torch.zeros(task.num_outputs))
    assert student.grad[0].abs().sum() > 0
    plain = student.detach()
    each = [float(answers(task, plain[i : i + 1], teacher[i : i + 1])) for i in range(3)]
    assert float(loss.detach()) == pytest.approx((2 * each[0] + each[2]) / 3, rel=1e-5)
    assert float(answers(task, plain, teacher, evidence=[0.0] * 3)) == 0


def test_likeness_of_windows_by_hand():
    """Student: both alike, rows (1, 1)/sqrt 2. Teacher: nothing in common, rows (1, 0), (0, 1)."""
    student = torch.tensor([[2.0], [2.0]])
    teacher = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    near = math.sqrt(0.5)
    expected = ((near - 1) ** 2 + near**2) / 2
    assert float(distilled_features(student, [teacher])) == pytest.approx(expected, rel=1e-6)


def test_likeness_knows_no_basis_and_no_scale():
    """Turned and stretched features say the same; a single window says nothing."""
    features = drawn(9, 5, 4)
    turn, _ = torch.linalg.qr(drawn(10, 4, 4))
    assert float(distilled_features(features, [3 * features @ turn])) < 1e-10
    assert float(distilled_features(features[:1], [drawn(11, 1, 7)])) < 1e-12
    student = drawn(12, 5, 2).requires_grad_()
    before = distilled_features(student, [features, features @ turn])
    before.backward()
    after = distilled_features((student - 0.1 * student.grad).detach(), [features])
    assert 0 < float(after) < float(before.detach())
