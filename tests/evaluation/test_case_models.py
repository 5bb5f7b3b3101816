"""B07: classical models on features, fitted out of fold without leaks."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from segduet.core.errors import DataError
from segduet.core.scores import Score
from segduet.evaluation.case_models import (
    FeatureTable,
    ForestSettings,
    LogisticSettings,
    fit_case_model,
    group_folds,
    out_of_fold,
)

FOREST = ForestSettings(num_trees=15)
LOGISTIC = LogisticSettings()


def table(values: np.ndarray) -> FeatureTable:
    rows = tuple(f"r{i}" for i in range(values.shape[0]))
    names = tuple(f"f{i}" for i in range(values.shape[1]))
    return FeatureTable(rows=rows, names=names, values=np.asarray(values, dtype=np.float64))


def blobs(num_per_class: int = 12, seed: int = 0) -> tuple[FeatureTable, np.ndarray]:
    """Three classes, two informative features and three of noise."""
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(3), num_per_class)
    centres = np.array([[0, 0], [4, 0], [0, 4]])[classes]
    signal = centres + rng.normal(size=(len(classes), 2))
    return table(np.hstack([signal, rng.normal(size=(len(classes), 3))])), classes


@pytest.mark.parametrize("settings", [FOREST, LOGISTIC])
def test_a_model_learns_what_can_be_learnt_and_repeats_itself(settings) -> None:
    features, classes = blobs()
    folds = group_folds(features.rows, classes, class_names="abc", num_folds=4, seed=0)
    answers = out_of_fold(settings, features, classes, folds, num_classes=3, seed=1)
    assert np.allclose(answers.sum(1), 1)
    assert (answers.argmax(1) == classes).mean() > 0.8
    again = out_of_fold(settings, features, classes, folds, num_classes=3, seed=1)
    assert np.array_equal(answers, again)


def test_logistic_regression_is_scikit_learns_on_standardised_features() -> None:
    features, classes = blobs()
    scaled = (features.values - features.values.mean(0)) / features.values.std(0)
    theirs = LogisticRegression(C=0.1, max_iter=5000).fit(scaled, classes).predict_proba(scaled)
    ours = fit_case_model(LOGISTIC, features, classes, num_classes=3, seed=0)
    assert np.allclose(ours.probabilities(features), theirs, atol=1e-6)


def test_undefined_features_take_the_training_median_and_hopeless_ones_are_dropped() -> None:
    """Feature 2 is never defined; row 0 lacks feature 0, whose median over the others is 3."""
    values = np.array([[np.nan, 1, np.nan], [1, 0, np.nan], [3, 1, np.nan], [5, 0, np.nan]])
    classes = np.array([1, 0, 1, 0])
    model = fit_case_model(LOGISTIC, table(values), classes, num_classes=2, seed=0)
    assert model.names == ("f0", "f1")
    filled = values.copy()
    filled[0, 0] = 3.0
    answers = model.probabilities(table(values))
    assert np.array_equal(answers, model.probabilities(table(filled)))


def test_a_class_absent_from_training_gets_probability_0() -> None:
    features, classes = blobs()
    kept = features.of_rows(features.rows[:24])
    model = fit_case_model(FOREST, kept, classes[:24], num_classes=3, seed=0)
    answers = model.probabilities(features)
    assert answers.shape == (36, 3)
    assert (answers[:, 2] == 0).all()


def plain_folds(n: int, num_folds: int, seed: int) -> list[np.ndarray]:
    return np.array_split(np.random.default_rng(seed).permutation(n), num_folds)


@pytest.mark.parametrize("settings", [ForestSettings(num_trees=40), LogisticSettings()])
def test_a_planted_leak_pays_across_plain_folds_and_not_across_patients(settings) -> None:
    """No leakage: every patient's images share a fingerprint that says nothing of the class."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(20), 4)
    fingerprints = rng.normal(size=(20, 30))[patients] + 0.01 * rng.normal(size=(80, 30))
    classes = (np.arange(20) % 2)[rng.permutation(20)][patients]
    features = table(fingerprints)

    def accuracy(folds: list[np.ndarray]) -> float:
        answers = out_of_fold(settings, features, classes, folds, num_classes=2, seed=0)
        return float((answers.argmax(1) == classes).mean())

    groups = [f"p{p}" for p in patients]
    grouped = np.mean(
        [
            accuracy(group_folds(groups, classes, class_names="ab", num_folds=5, seed=s))
            for s in range(3)
        ]
    )
    assert accuracy(plain_folds(80, 5, seed=0)) > 0.9
    assert grouped < 0.7


def test_group_folds_split_no_patient_and_hold_every_class() -> None:
    patients = [f"p{i // 2}" for i in range(40)]
    classes = np.repeat(np.arange(20) % 2, 2)
    folds = group_folds(patients, classes, class_names="ab", num_folds=5, seed=3)
    assert sorted(np.concatenate(folds).tolist()) == list(range(40))
    for fold in folds:
        inside = {patients[i] for i in fold}
        assert inside.isdisjoint({patients[i] for i in range(40) if i not in set(fold.tolist())})
        assert set(classes[fold]) == {0, 1}


def test_a_class_with_fewer_patients_than_folds_is_refused() -> None:
    groups, classes = [f"p{i}" for i in range(12)], np.array([0] * 10 + [2] * 2)
    with pytest.raises(DataError, match=r"class 'c'.*found 2 cases of 2 patients.*fewer folds"):
        group_folds(groups, classes, class_names="abc", num_folds=5, seed=0)
    with pytest.raises(DataError, match=r"found 12 rows of 1 class; expected at least two"):
        group_folds(groups, classes * 0, class_names="abc", num_folds=5, seed=0)


def test_one_class_or_no_defined_feature_is_refused() -> None:
    with pytest.raises(DataError, match=r"of 1 classes with 5 defined features"):
        fit_case_model(FOREST, blobs()[0], np.zeros(36, dtype=int), num_classes=3, seed=0)
    nothing = table(np.full((4, 2), np.nan))
    with pytest.raises(DataError, match=r"with 0 defined features"):
        fit_case_model(FOREST, nothing, np.array([0, 1, 0, 1]), num_classes=2, seed=0)


def test_a_table_without_a_fitted_feature_is_refused() -> None:
    features, classes = blobs()
    model = fit_case_model(FOREST, features, classes, num_classes=3, seed=0)
    fewer = FeatureTable(rows=("a",), names=("f0",), values=np.zeros((1, 1)))
    with pytest.raises(DataError, match=r"found no 'f1' \(4 of 5 missing\)"):
        model.probabilities(fewer)


def test_measurements_become_a_table_and_survive_the_text() -> None:
    one = {"a.volume_ml": Score(value=0.1), "a.extent_z_mm": Score(value=None, reason="empty")}
    made = FeatureTable.of({"p1": one})
    assert made.names == ("a.volume_ml", "a.extent_z_mm")
    assert made.values[0, 0] == 0.1
    assert np.isnan(made.values[0, 1])
    assert made.to_csv(index="patient") == "patient,a.volume_ml,a.extent_z_mm\np1,0.1,\n"


def test_unequal_names_and_infinite_numbers_are_refused() -> None:
    with pytest.raises(DataError, match=r"'p2': found measurements .*'b'"):
        FeatureTable.of({"p1": {"a": Score(value=1.0)}, "p2": {"b": Score(value=1.0)}})
    with pytest.raises(DataError, match=r"feature 'f1' of 'r0': found an infinite number"):
        table(np.array([[0.0, np.inf]]))
