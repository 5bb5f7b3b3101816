import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from segduet.core.scores import CaseScores, ClassAnswer
from segduet.core.tasks import TaskSpec
from segduet.evaluation.classification import collect_answers, task_figures

TASK = TaskSpec(name="subtype", classes=("a", "b", "c"))


def scored(case: str, reference: str | None, probabilities) -> CaseScores:
    predicted = TASK.classes[int(np.argmax(probabilities))]
    answer = ClassAnswer(
        reference=reference, predicted=predicted, probabilities=tuple(map(float, probabilities))
    )
    return CaseScores(case=case, patient=case, answers={"subtype": answer})


@pytest.fixture
def cohort() -> list[CaseScores]:
    rng = np.random.default_rng(4)
    truth = np.arange(45) % 3
    chances = [rng.dirichlet(1 + 3 * np.eye(3)[k]) for k in truth]
    return [
        scored(f"c{i}", TASK.classes[k], p)
        for i, (k, p) in enumerate(zip(truth, chances, strict=True))
    ]


def test_figures_equal_scikit_learn(cohort):
    """F82: values against the library; each with n and an interval around it (B19)."""
    answers = collect_answers(cohort, TASK)
    figures = task_figures(answers, seed=0)
    truth, chosen, chances = answers.reference, answers.predicted, answers.probabilities
    expected = {
        "macro_f1": sklearn_metrics.f1_score(truth, chosen, average="macro"),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, chosen),
        "accuracy": sklearn_metrics.accuracy_score(truth, chosen),
        "mcc": sklearn_metrics.matthews_corrcoef(truth, chosen),
        "auroc": sklearn_metrics.roc_auc_score(truth, chances, multi_class="ovr"),
        "average_precision": sklearn_metrics.average_precision_score(truth, chances),
    }
    for name, value in expected.items():
        estimate = figures.metrics[name]
        assert estimate.value == pytest.approx(value, abs=1e-12)
        assert estimate.ci95[0] < value < estimate.ci95[1]
        assert estimate.n == 45
    assert set(figures.metrics) == {*expected, "brier", "ece", "ece_kde"}
    f1 = sklearn_metrics.f1_score(truth, chosen, average=None)
    assert [e.value for e in figures.f1_by_class.values()] == pytest.approx(f1.tolist())
    matrix = sklearn_metrics.confusion_matrix(truth, chosen)
    assert figures.to_json()["confusion_matrix"] == {
        "classes": ["a", "b", "c"],
        "rows": "reference",
        "columns": "predicted",
        "counts": matrix.tolist(),
    }


def test_cases_of_unknown_class_are_left_out(cohort):
    figures = task_figures(collect_answers([*cohort, scored("u", None, [1, 0, 0])], TASK), seed=0)
    assert figures.metrics["accuracy"].n == 45


def test_absent_class_makes_auroc_undefined_by_name(cohort):
    """F56: the reason names the class."""
    without_c = [c for c in cohort if c.answers["subtype"].reference != "c"]
    auroc = task_figures(collect_answers(without_c, TASK), seed=0).to_json()["auroc"]
    assert auroc == {
        "value": None,
        "ci95": None,
        "n": 30,
        "reason": "classes ['c'] do not occur in the reference",
    }


def test_no_known_class_at_all():
    figures = task_figures(collect_answers([scored("u", None, [1, 0, 0])], TASK), seed=0)
    assert all(e.value is None and e.n == 0 and e.reason for e in figures.metrics.values())
