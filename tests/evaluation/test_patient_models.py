"""B06, B07: parts side by side, one of them or their fusion chosen without seeing the answered."""

import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.evaluation.case_models import FeatureTable, ForestSettings, LogisticSettings
from segduet.evaluation.patient_models import (
    CHOSEN,
    PatientData,
    PatientModelSettings,
    cross_answers,
    fit_patient_model,
    num_candidates,
)

SETTINGS = PatientModelSettings(
    models={"morphometry": (ForestSettings(num_trees=10), LogisticSettings())}, num_folds=3
)


def data(num: int = 30, seed: int = 0, signal: float = 2.0) -> tuple[PatientData, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = np.arange(num) % 2
    patients = tuple(f"p{i:02d}" for i in range(num))
    values = rng.normal(size=(num, 4)) + signal * classes[:, None]
    table = FeatureTable(rows=patients, names=("a", "b", "c", "d"), values=values)
    chance = np.clip(0.5 + 0.3 * (classes - 0.5) + 0.2 * rng.normal(size=num), 0.05, 0.95)
    answers = {"network_mean": np.column_stack([1 - chance, chance])}
    found = PatientData(patients=patients, features={"morphometry": table}, answers=answers)
    return found, classes


def test_every_part_is_answered_beside_the_fusion_and_the_choice() -> None:
    known, classes = data()
    model = fit_patient_model(known, classes, SETTINGS, class_names="ab")
    answers = model.answers(data(seed=1)[0])
    assert set(answers) == {
        *("network_mean", "morphometry_forest", "morphometry_logistic", "fused", CHOSEN)
    }
    assert num_candidates(answers) == 4
    assert np.array_equal(answers[CHOSEN], answers[model.stack.chosen])
    assert np.array_equal(answers["network_mean"], data(seed=1)[0].answers["network_mean"])


def test_crossed_answers_do_not_know_the_answered_patients() -> None:
    """Features without signal score as chance, although every model fits its own patients."""
    known, classes = data(num=60, signal=0.0)
    alone = PatientData(patients=known.patients, features=known.features)
    crossed = cross_answers(alone, alone, classes, SETTINGS, class_names="ab")
    own = fit_patient_model(alone, classes, SETTINGS, class_names="ab").answers(alone)
    in_sample = (own["morphometry_forest"].argmax(1) == classes).mean()
    held_out = (crossed.answers[CHOSEN].argmax(1) == classes).mean()
    assert in_sample > 0.9
    assert held_out < 0.7
    assert sum(crossed.chosen.values()) == 3


def test_crossed_answers_find_a_signal() -> None:
    known, classes = data(num=30, signal=3.0)
    crossed = cross_answers(known, known, classes, SETTINGS, class_names="ab")
    assert (crossed.answers[CHOSEN].argmax(1) == classes).mean() > 0.9


def test_data_without_a_fitted_part_are_refused() -> None:
    known, classes = data()
    model = fit_patient_model(known, classes, SETTINGS, class_names="ab")
    without = PatientData(patients=known.patients, features=known.features)
    with pytest.raises(DataError, match=r"found no 'network_mean'.*which the model was fitted on"):
        model.answers(without)
