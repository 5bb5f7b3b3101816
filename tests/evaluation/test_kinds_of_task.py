"""B02: figures, intervals and baselines of every kind of task, from scored cases to summary."""

import json
import re

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from segduet.core.cases import CaseRecord
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores
from segduet.core.tasks import TaskSpec
from segduet.evaluation.baselines import FittingCases, task_baselines
from segduet.evaluation.classification import collect_answers, task_figures
from segduet.evaluation.cohort import summarize
from segduet.evaluation.scoring import class_answer
from segduet.metrics.declared import TASK_METRICS
from segduet.metrics.probability import ece_kde

CANCER = TaskSpec(name="cancer", kind="binary", classes=("no", "yes"))
FINDINGS = TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass", "scar"))
GRADE = TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high"))
SIZE = TaskSpec(name="size", kind="regression", unit="mm")
ALL = (CANCER, FINDINGS, GRADE, SIZE)
LABELS = LabelScheme(labels=(("background", (0,)), ("organ", (1,))))


def scored(case: str, labels: dict[str, str], answers: dict[str, list[float]]) -> CaseScores:
    record = CaseRecord(case=case, patient=case, labels=labels)
    by_name = {task.name: task for task in ALL}
    return CaseScores(
        case=case,
        patient=case,
        answers={n: class_answer(record, by_name[n], np.array(a)) for n, a in answers.items()},
    )


@pytest.fixture(scope="module")
def cohort() -> list[CaseScores]:
    """40 cases with right-leaning answers to all four questions."""
    rng = np.random.default_rng(11)
    cases = []
    for i in range(40):
        positive, grade, size = i % 3 == 0, i % 3, float(rng.normal(20, 5))
        held = rng.random(3) > 0.5
        risk = 0.3 * positive + 0.7 * rng.uniform()
        chances = 0.3 * held + 0.7 * rng.random(3)
        labels = {
            "cancer": CANCER.classes[positive],
            "findings": "|".join(n for n, h in zip(FINDINGS.classes, held, strict=True) if h)
            or "none",
            "grade": GRADE.classes[grade],
            "size": repr(size),
        }
        answers = {
            "cancer": [1 - risk, risk],
            "findings": chances.tolist(),
            "grade": rng.dirichlet(1 + 3 * np.eye(3)[grade]).tolist(),
            "size": [size + float(rng.normal(0, 2))],
        }
        cases.append(scored(f"c{i}", labels, answers))
    return cases


def figures_of(cohort, task):
    answers = collect_answers(cohort, task)
    return answers, task_figures(answers, seed=0)


def assert_figures(figures, expected: dict[str, float]) -> None:
    assert set(figures.metrics) == set(expected)
    for name, value in expected.items():
        estimate = figures.metrics[name]
        assert estimate.value == pytest.approx(value, abs=1e-12), name
        assert estimate.ci95[0] < value < estimate.ci95[1], name
        assert estimate.n == 40
        assert name in TASK_METRICS


def test_binary_figures_equal_scikit_learn(cohort):
    answers, figures = figures_of(cohort, CANCER)
    truth, said, score = answers.reference, answers.predicted, answers.probabilities[:, 1]
    confidence = answers.probabilities.max(1)
    bins = np.ceil(confidence * 10).astype(int)
    gaps = [abs(((truth == said) - confidence)[bins == b].sum()) for b in range(1, 11)]
    likelihood_ratio, _ = sklearn_metrics.class_likelihood_ratios(truth, said)
    assert_figures(
        figures,
        {
            "macro_f1": sklearn_metrics.f1_score(truth, said, average="macro"),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, said),
            "accuracy": sklearn_metrics.accuracy_score(truth, said),
            "mcc": sklearn_metrics.matthews_corrcoef(truth, said),
            "auroc": sklearn_metrics.roc_auc_score(truth, score),
            "average_precision": sklearn_metrics.average_precision_score(truth, score),
            "positive_likelihood_ratio": likelihood_ratio,
            "ece_kde": float(ece_kde(truth, answers.probabilities)),
            "sensitivity": sklearn_metrics.recall_score(truth, said),
            "specificity": sklearn_metrics.recall_score(truth, said, pos_label=0),
            "brier": 2 * sklearn_metrics.brier_score_loss(truth, score),
            "ece": sum(gaps) / 40,
        },
    )


def test_findings_figures_equal_scikit_learn(cohort):
    answers, figures = figures_of(cohort, FINDINGS)
    truth, said, chances = answers.reference, answers.predicted, answers.probabilities
    assert_figures(
        figures,
        {
            "macro_f1": sklearn_metrics.f1_score(truth, said, average="macro"),
            "exact_match": sklearn_metrics.accuracy_score(truth, said),
            "auroc": sklearn_metrics.roc_auc_score(truth, chances, average="macro"),
            "average_precision": sklearn_metrics.average_precision_score(truth, chances),
        },
    )
    areas = sklearn_metrics.roc_auc_score(truth, chances, average=None)
    assert [e.value for e in figures.auroc_by_class.values()] == pytest.approx(areas.tolist())
    f1 = sklearn_metrics.f1_score(truth, said, average=None)
    assert [e.value for e in figures.f1_by_class.values()] == pytest.approx(f1.tolist())
    assert "confusion_matrix" not in figures.to_json()


def test_ordinal_figures_equal_scikit_learn_on_the_median_class(cohort):
    answers, figures = figures_of(cohort, GRADE)
    truth, said, chances = answers.reference, answers.predicted, answers.probabilities
    cumulative = chances.cumsum(1)
    assert said.tolist() == [int(np.flatnonzero(row >= 0.5)[0]) for row in cumulative]
    assert_figures(
        figures,
        {
            "macro_f1": sklearn_metrics.f1_score(truth, said, average="macro"),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, said),
            "accuracy": sklearn_metrics.accuracy_score(truth, said),
            "mcc": sklearn_metrics.matthews_corrcoef(truth, said),
            "quadratic_kappa": sklearn_metrics.cohen_kappa_score(truth, said, weights="quadratic"),
            "rank_error": sklearn_metrics.mean_absolute_error(truth, said),
            "brier": ((chances - np.eye(3)[truth]) ** 2).sum(1).mean(),
        },
    )
    matrix = sklearn_metrics.confusion_matrix(truth, said).tolist()
    assert figures.to_json()["confusion_matrix"]["counts"] == matrix


def test_regression_figures_equal_scikit_learn_and_name_their_unit(cohort):
    answers, figures = figures_of(cohort, SIZE)
    truth, said = answers.reference, answers.predicted
    assert truth[0] == float(cohort[0].answers["size"].reference)  # not rounded to float32
    assert_figures(
        figures,
        {
            "mae": sklearn_metrics.mean_absolute_error(truth, said),
            "rmse": sklearn_metrics.root_mean_squared_error(truth, said),
            "r2": sklearn_metrics.r2_score(truth, said),
            "spearman": stats.spearmanr(truth, said).statistic,
        },
    )
    content = figures.to_json()
    assert (content["mae"]["unit"], content["rmse"]["unit"]) == ("mm", "mm")
    assert "unit" not in content["r2"]
    assert set(content) == {"mae", "rmse", "r2", "spearman"}


@pytest.mark.parametrize(
    ("task", "cells", "metric", "reason"),
    [
        (CANCER, ["no"] * 3, "sensitivity", r"classes \['yes'\] do not occur"),
        (CANCER, ["no"] * 3, "auroc", r"classes \['yes'\] do not occur"),
        (CANCER, ["no"] * 3, "average_precision", r"classes \['yes'\] do not occur"),
        (CANCER, ["no"] * 3, "positive_likelihood_ratio", r"classes \['yes'\] do not occur"),
        (CANCER, ["no", "yes"], "positive_likelihood_ratio", "no negative case was called"),
        (CANCER, ["no", "yes"], "mcc", "the answers are all one class"),
        (CANCER, ["no"], "ece_kde", "one case has no others"),
        (GRADE, ["mid"] * 3, "quadratic_kappa", "all one and the same class"),
        (FINDINGS, ["cyst", "cyst|mass", "cyst"], "auroc", r"findings \['cyst', 'scar'\]"),
        (SIZE, ["3.5"] * 3, "r2", "all true values are the same"),
        (SIZE, ["3.5"] * 3, "spearman", "values are the same"),
    ],
)
def test_what_is_undefined_is_null_with_its_reason(task, cells, metric, reason):
    """F56."""
    answer = {1: [2.0], 2: [0.9, 0.1], 3: [0.1, 0.8, 0.1]}[task.answer_size]
    cases = [scored(f"c{i}", {task.name: c}, {task.name: answer}) for i, c in enumerate(cells)]
    estimate = task_figures(collect_answers(cases, task), seed=0).metrics[metric]
    assert estimate.value is None
    assert estimate.n == len(cells)
    assert re.search(reason, estimate.reason)


@pytest.mark.parametrize("task", ALL)
def test_unknown_cases_are_left_out_and_none_at_all_is_undefined(cohort, task):
    unknown = scored("u", {}, {task.name: list(cohort[0].answers[task.name].probabilities)})
    figures = task_figures(collect_answers([*cohort, unknown], task), seed=0)
    assert {e.n for e in figures.metrics.values()} == {40}
    alone = task_figures(collect_answers([unknown], task), seed=0)
    assert all(e.value is None and e.reason for e in alone.metrics.values())


def fitting(targets) -> FittingCases:
    """Volumes 1 or 9 ml with the target, beside a volume that says nothing."""
    numbers = np.array(targets, dtype=float)
    volumes = np.stack(
        [1 + 8 * (numbers[:, 0] > numbers[:, 0].mean()), np.full(len(numbers), 5.0)], 1
    )
    return FittingCases(targets=numbers, volumes_ml=volumes)


@pytest.mark.parametrize(
    ("task", "targets", "constant", "name"),
    [
        (CANCER, [[0], [0], [1]], [2 / 3, 1 / 3], "majority_class"),
        (GRADE, [[0], [0], [1], [2], [2]], [0.4, 0.2, 0.4], "median_class"),
        (FINDINGS, [[0, 1, 0], [1, 1, 0]], [0.5, 1.0, 0.0], "finding_rates"),
        (SIZE, [[1], [2], [30]], [2.0], "median_value"),
    ],
)
def test_baselines_of_every_kind(task, targets, constant, name):
    """One looks at nothing; the other knows sizes only, and follows them."""
    first, second = task_baselines(
        task, fitting(targets), ["small", "large"], np.array([[1.0, 5.0], [9.0, 5.0]])
    )
    assert (first.name, second.name) == (name, "mask_volume")
    assert f"fitted on {len(targets)} training cases" in first.description
    assert first.probabilities["small"] == pytest.approx(constant)
    small, large = second.probabilities["small"], second.probabilities["large"]
    assert len(small) == task.answer_size
    top = 0 if task in (FINDINGS, SIZE) else -1
    assert large[top] > small[top] + 0.1
    if task is FINDINGS:  # what all or none have cannot be told by size
        assert large[1:].tolist() == [1.0, 0.0]


def test_a_summary_holds_all_kinds_and_keeps_baselines_of_one_name_apart(cohort):
    """Two tasks with a volume baseline each: neither overwrites the other."""
    names = [case.case for case in cohort]
    volumes = np.tile([[1.0, 5.0]], (40, 1))
    baselines = [
        *task_baselines(CANCER, fitting([[0], [0], [1]]), names, volumes),
        *task_baselines(SIZE, fitting([[1], [2], [30]]), names, volumes),
    ]
    summary = summarize(cohort, LABELS, ALL, seed=0, selected_from=1, baselines=baselines)
    content = summary.to_json()
    json.dumps(content, allow_nan=False)
    assert set(content["classification"]) == {"cancer", "findings", "grade", "size"}
    volume = content["baselines"]["mask_volume"]
    assert set(volume["classification"]) == {"cancer", "size"}
    assert volume["description"].startswith("cancer: Logistic regression")
    assert "; size: Ridge regression" in volume["description"]
    rates = content["baselines"]["median_value"]["classification"]["size"]
    assert set(rates) == set(content["classification"]["size"])
