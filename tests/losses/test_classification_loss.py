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


def test_a_class_without_training_case_is_refused():
    with pytest.raises(DataError, match=r"'subtype'.*\[4, 0, 2\].*every class"):
        build_classification_loss(TASK, (4, 0, 2), ClassificationLossConfig())


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
    )
    values = {
        build_classification_loss(TASK, (62, 6, 84), c)(logits, classes).item() for c in configs
    }
    assert len(values) == 4


@pytest.mark.parametrize(
    "options", [{"label_smoothing": 1.0}, {"added_cases": -1}, {"class_weights": "x"}, {"gamma": 2}]
)
def test_senseless_options_are_refused(options):
    with pytest.raises(ValidationError):
        ClassificationLossConfig(**options)


def test_class_weights_stay_out_of_checkpoints():
    """They follow from the training cases, so a stock checkpoint needs none."""
    assert ClassificationLoss((1, 2)).state_dict() == {}
