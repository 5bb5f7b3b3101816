import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.losses.classification import (
    ClassificationLoss,
    build_classification_loss,
    inverse_frequency_weights,
)
from segduet.losses.config import ClassificationLossConfig

TASK = TaskSpec(name="subtype", classes=("0", "1", "2"))


def example(batch: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, 3, generator=generator).requires_grad_()
    return logits, torch.randint(0, 3, (batch,), generator=generator)


def test_weights_of_the_first_seeds_classes():
    """F31: 62, 106 and 84 training cases."""
    weights = inverse_frequency_weights((62, 106, 84))
    assert [round(w, 3) for w in weights] == [1.355, 0.792, 1.0]


def test_weights_give_every_class_the_same_share_and_average_one():
    """F31."""
    counts = (3, 40, 7, 50)
    weights = inverse_frequency_weights(counts)
    shares = [w * n for w, n in zip(weights, counts, strict=True)]
    assert shares == pytest.approx([25.0] * 4)


def test_added_cases_soften_the_weights():
    """F31: (62 + 10) and so on; an enormous number makes them equal."""
    assert inverse_frequency_weights((62, 106, 84), added_cases=10)[0] == pytest.approx(
        282 / (3 * 72)
    )
    assert inverse_frequency_weights((0, 10), added_cases=1e9) == pytest.approx((1, 1), abs=1e-6)


@pytest.mark.parametrize("class_weights", ["equal", "inverse_frequency"])
def test_a_class_without_training_case_is_refused(class_weights):
    """Whatever the weights; `added_cases` is the way to allow it."""
    config = ClassificationLossConfig(class_weights=class_weights)
    with pytest.raises(DataError, match=r"'subtype'.*\[4, 0, 2\].*every class"):
        build_classification_loss(TASK, (4, 0, 2), config)
    allowed = config.model_copy(update={"added_cases": 1.0})
    logits, classes = example()
    assert build_classification_loss(TASK, (4, 0, 2), allowed)(logits, classes).isfinite()


def test_a_task_without_any_class_in_training_is_refused():
    """B03: pretended cases do not help a task nobody has answered."""
    config = ClassificationLossConfig(added_cases=5)
    with pytest.raises(DataError, match=r"'subtype'.*not a single case whose class is known"):
        build_classification_loss(TASK, (0, 0, 0), config)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_with_equal_weights_it_is_torchs_cross_entropy(smoothing):
    """F33: label smoothing included."""
    logits, classes = example()
    loss = ClassificationLoss((1, 1, 1), label_smoothing=smoothing)(logits, classes)
    reference = functional.cross_entropy(logits, classes, label_smoothing=smoothing)
    assert loss.item() == pytest.approx(reference.item(), abs=1e-6)


def test_with_class_weights_it_is_torchs_weighted_mean():
    """F31."""
    logits, classes = example()
    weights = inverse_frequency_weights((62, 106, 84))
    loss = ClassificationLoss(weights)(logits, classes)
    reference = functional.cross_entropy(logits, classes, weight=torch.tensor(weights))
    assert loss.item() == pytest.approx(reference.item(), abs=1e-6)


def test_evidence_and_class_weights_equal_a_hand_worked_case():
    """Weights 2 * 1 and 1 * 0.5, terms ln 2 and ln 4: (2 ln 2 + 0.5 ln 4) / 2.5."""
    logits = torch.tensor([[0.5, 0.5], [0.75, 0.25]]).log()
    loss = ClassificationLoss((2.0, 1.0))(logits, torch.tensor([0, 1]), torch.tensor([1.0, 0.5]))
    expected = (2 * math.log(2) + 0.5 * math.log(4)) / 2.5
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_scale_of_the_evidence_does_not_change_the_loss():
    """The balancer's factor means the same whatever the batch holds."""
    logits, classes = example()
    evidence = torch.tensor([1.0, 0.3, 0.0, 0.5, 0.2])
    loss = ClassificationLoss((1, 2, 3))
    whole, tenth = loss(logits, classes, evidence), loss(logits, classes, evidence / 10)
    assert tenth.item() == pytest.approx(whole.item(), abs=1e-6)


def test_unknown_classes_and_windows_without_evidence_have_no_gradient():
    """B03, B02: exactly 0, and the rest is as if they were not there."""
    logits, classes = example()
    unknown = classes.clone()
    unknown[1] = -1
    evidence = torch.tensor([1.0, 1.0, 0.0, 0.5, 0.2])
    loss = ClassificationLoss((1, 2, 3), label_smoothing=0.1)
    masked = loss(logits, unknown, evidence)
    masked.backward()
    assert logits.grad[[1, 2]].abs().max() == 0
    assert logits.grad[[0, 3, 4]].abs().min() > 0
    rest = [0, 3, 4]
    alone = loss(logits[rest], classes[rest], evidence[rest])
    assert masked.item() == pytest.approx(alone.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("classes", "evidence"), [((-1, -1), None), ((0, 1), (0.0, 0.0)), ((-1, 1), (1.0, 0.0))]
)
def test_a_batch_that_says_nothing_costs_exactly_nothing(classes, evidence):
    """B03: 0 and gradient 0, with the graph intact."""
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = None if evidence is None else torch.tensor(evidence)
    loss = ClassificationLoss((1, 2, 3))(logits, torch.tensor(classes), weights)
    assert loss.item() == 0
    loss.backward()
    assert logits.grad.abs().max() == 0


def test_the_configuration_decides_weights_and_smoothing():
    """F31, F33: on differs from off."""
    logits, classes = example()
    configs = (
        ClassificationLossConfig(class_weights="equal"),
        ClassificationLossConfig(),
        ClassificationLossConfig(added_cases=20),
        ClassificationLossConfig(label_smoothing=0.2),
        ClassificationLossConfig(kind="focal"),
        ClassificationLossConfig(class_weights="equal", logit_adjustment=1.0),
    )
    values = {
        build_classification_loss(TASK, (62, 6, 84), c)(logits, classes).item() for c in configs
    }
    assert len(values) == 6


@pytest.mark.parametrize(
    "options",
    [
        {"label_smoothing": 1.0},
        {"added_cases": -1},
        {"class_weights": "x"},
        {"gamma": 2},
        {"focal_gamma": 1.0},
        {"kind": "focal", "focal_gamma": -1.0},
        {"logit_adjustment": -1.0},
    ],
)
def test_senseless_options_are_refused(options):
    with pytest.raises(ValidationError):
        ClassificationLossConfig(**options)


def test_class_weights_stay_out_of_checkpoints():
    """They follow from the training cases, so a stock checkpoint needs none."""
    assert ClassificationLoss((1, 2)).state_dict() == {}


# focal loss and logit adjustment ------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_with_gamma_0_is_cross_entropy(smoothing):
    """F30, F33: exactly, with class weights and smoothing."""
    logits, classes = example()
    counts = (62, 106, 84)
    focal, plain = (
        build_classification_loss(
            TASK, counts, ClassificationLossConfig(label_smoothing=smoothing, **options)
        )(logits, classes)
        for options in ({"kind": "focal", "focal_gamma": 0.0}, {})
    )
    assert focal.item() == plain.item()


def test_focal_loss_equals_a_hand_worked_case():
    """F30: gamma 2, alpha 2 and 1: (2 * 0.5^2 ln 2 + 1 * 0.75^2 ln 4) / 3."""
    logits = torch.tensor([[0.5, 0.5], [0.75, 0.25]]).log()
    loss = ClassificationLoss((2.0, 1.0), focal_gamma=2.0)(logits, torch.tensor([0, 1]))
    expected = (2 * 0.25 * math.log(2) + 0.5625 * math.log(4)) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_focal_loss_turns_the_gradient_towards_the_hard_case():
    """F30: share of the gradient of the case that is answered worst."""
    shares = []
    for gamma in (0.0, 2.0):
        logits = torch.tensor([[2.0, 0.0], [-1.0, 1.0]], requires_grad=True)
        loss = ClassificationLoss((1.0, 1.0), focal_gamma=gamma)(logits, torch.tensor([0, 0]))
        loss.backward()
        pulls = logits.grad.abs().sum(1)
        shares.append((pulls[1] / pulls.sum()).item())
    assert shares[0] < 0.9 < shares[1]


def test_logit_adjustment_adds_tau_times_the_log_share_of_the_training_cases():
    """Issue 3.5, Menon et al. 2021, equation 10: counts 3 and 1, tau 2, equal logits, true class 1.

    -log(1/16 / (9/16 + 1/16)) = ln 10; the rare class must win by far to cost little.
    """
    config = ClassificationLossConfig(class_weights="equal", logit_adjustment=2.0)
    task = TaskSpec(name="kind", classes=("often", "rarely"))
    loss = build_classification_loss(task, (3, 1), config)
    assert loss(torch.zeros(1, 2), torch.tensor([1])).item() == pytest.approx(math.log(10))
    # the best logits for a case that tells nothing are level once the shares are taken off
    logits = torch.zeros(4, 2, requires_grad=True)
    adjusted = build_classification_loss(
        task, (3, 1), ClassificationLossConfig(class_weights="equal", logit_adjustment=1.0)
    )
    adjusted(logits, torch.tensor([0, 0, 0, 1])).backward()
    assert logits.grad.sum(0).abs().max() < 1e-6
    logits.grad = None
    ClassificationLoss((1.0, 1.0))(logits, torch.tensor([0, 0, 0, 1])).backward()
    assert logits.grad.sum(0)[0] < -0.1  # plain cross entropy pulls towards the frequent class


def test_logit_adjustment_of_unknown_classes_has_no_gradient():
    """B03."""
    config = ClassificationLossConfig(
        kind="focal", class_weights="equal", logit_adjustment=1.0, label_smoothing=0.1
    )
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = build_classification_loss(TASK, (5, 2, 3), config)(logits, torch.tensor([-1, -1]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0
