"""What is reached without a network's class answer: the bar a classifier must clear.

N training cases, M test cases, R regions, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from segduet.core.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Answers of something simpler, scored exactly as the model's.

    Attributes:
        name: key in `summary.json`, such as `majority_class`.
        description: one sentence: fitted on what, fed with what.
        task: name of the class task.
        probabilities: case -> (K,) float64.
    """

    name: str
    description: str
    task: str
    probabilities: Mapping[str, np.ndarray]


def majority_class(train_classes: np.ndarray, *, num_classes: int, num_cases: int) -> np.ndarray:
    """The class frequencies of the training set for every case: (num_cases, K) float64.

    Its answer is the most frequent class, the first of equals.

    Args:
        train_classes: (N,) integer class indices of the training cases.
        num_classes: K.
        num_cases: cases to answer.

    Raises:
        DataError: no training case.
    """
    counts = np.bincount(_checked(train_classes, minimum=1), minlength=num_classes)
    return np.tile(counts / counts.sum(), (num_cases, 1))


def mask_volume(
    train_volumes_ml: np.ndarray,
    train_classes: np.ndarray,
    test_volumes_ml: np.ndarray,
    *,
    num_classes: int,
) -> np.ndarray:
    """Class probabilities from region volumes alone: (M, K) float64.

    Multinomial logistic regression on standardised log(1 + volume), fitted on the reference masks
    of the training cases and fed with the predicted masks of the test cases. A classifier that
    does not beat it has learnt no more than size. A class absent from training gets 0.

    Args:
        train_volumes_ml: (N, R) volumes in the training reference masks, >= 0.
        train_classes: (N,) integer class indices.
        test_volumes_ml: (M, R) volumes in the predicted masks, >= 0.
        num_classes: K.

    Raises:
        DataError: fewer than two classes among the training cases.
    """
    classes = _checked(train_classes, minimum=2)
    # lbfgs is deterministic, so there is no seed to give
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(np.log1p(train_volumes_ml), classes)
    probabilities = np.zeros((len(test_volumes_ml), num_classes))
    probabilities[:, model.classes_] = model.predict_proba(np.log1p(test_volumes_ml))
    return probabilities


def _checked(train_classes: np.ndarray, *, minimum: int) -> np.ndarray:
    classes = np.asarray(train_classes, dtype=np.int64)
    found = len(np.unique(classes))
    if found < minimum:
        raise DataError(
            "baseline",
            found=f"{found} classes among {classes.size} training cases",
            expected=f"at least {minimum}",
            remedy="Add the classes of the training cases to cases.csv, or leave the baseline out.",
        )
    return classes
