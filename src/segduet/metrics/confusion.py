"""Numbers that follow from how often each class was answered for each class.

N cases, K classes. Leading axes (...) are resamples: a matrix per row of `weights` lets a bootstrap
compute thousands of values in one call.
"""

import numpy as np

from segduet.metrics.resamples import case_weights


def confusion_matrix(
    reference: np.ndarray,
    predicted: np.ndarray,
    *,
    num_classes: int,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Counts of (true class, answered class): (..., K, K) float64, rows are the reference.

    Args:
        reference: (N,) integer class indices in [0, K).
        predicted: (N,) integer class indices in [0, K).
        num_classes: K, also where a class does not occur.
        weights: (..., N) how often each case counts; None counts each once.
    """
    counted = case_weights(reference, weights)
    cell = np.asarray(reference) * num_classes + np.asarray(predicted)
    cells = np.eye(num_classes * num_classes)[cell]
    shape = (*counted.shape[:-1], num_classes, num_classes)
    return np.asarray(counted @ cells).reshape(shape)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of cases answered correctly: (...) float64 in [0, 1]; NaN without cases.

    Args:
        confusion: (..., K, K) counts, rows are the reference.
    """
    return ratio(_diagonal(confusion).sum(-1), confusion.sum((-2, -1)))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that occur in the reference: (...) float64 in [0, 1].

    A class absent from the reference is left out (as in scikit-learn); NaN without cases.

    Args:
        confusion: (..., K, K) counts, rows are the reference.
    """
    of_class = confusion.sum(-1)
    recall = ratio(_diagonal(confusion), of_class)
    occurs = of_class > 0
    return ratio(np.where(occurs, recall, 0.0).sum(-1), occurs.sum(-1))


def per_class_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class, 2 TP / (2 TP + FP + FN): (..., K) float64 in [0, 1].

    A class that is neither true nor answered scores 0 (scikit-learn's `zero_division=0`), so a
    test set without it cannot raise the macro average. NaN without cases.

    Args:
        confusion: (..., K, K) counts, rows are the reference.
    """
    involved = confusion.sum(-1) + confusion.sum(-2)
    scores = np.nan_to_num(ratio(2 * _diagonal(confusion), involved), nan=0.0)
    return np.where(involved.sum(-1, keepdims=True) > 0, scores, np.nan)


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Unweighted mean of F1 over all K classes, absent ones included: (...) float64 in [0, 1].

    Equals scikit-learn's `f1_score(average="macro", labels=range(K), zero_division=0)`. NaN without
    cases.

    Args:
        confusion: (..., K, K) counts, rows are the reference.
    """
    return np.asarray(per_class_f1(confusion).mean(-1))


def sensitivity(confusion: np.ndarray) -> np.ndarray:
    """Share of the positive cases that were found: (...) float64 in [0, 1]; NaN without any.

    Args:
        confusion: (..., 2, 2) counts, rows are the reference; the second class is positive.
    """
    return ratio(confusion[..., 1, 1], confusion[..., 1, :].sum(-1))


def specificity(confusion: np.ndarray) -> np.ndarray:
    """Share of the negative cases that were left alone: (...) in [0, 1]; NaN without any.

    Args:
        confusion: (..., 2, 2) counts, rows are the reference; the second class is positive.
    """
    return ratio(confusion[..., 0, 0], confusion[..., 0, :].sum(-1))


def positive_likelihood_ratio(confusion: np.ndarray) -> np.ndarray:
    """How much more often positive cases are called positive than negative ones: (...) >= 0.

    Sensitivity / (1 - specificity); 1 says nothing, above 10 is strong evidence. NaN without
    positive or negative cases, and where no negative case is called positive.

    Args:
        confusion: (..., 2, 2) counts, rows are the reference; the second class is positive.

    Source: Deeks and Altman (2004), doi:10.1136/bmj.329.7458.168.
    """
    false_positive_rate = ratio(confusion[..., 0, 1], confusion[..., 0, :].sum(-1))
    return ratio(sensitivity(confusion), false_positive_rate)


def matthews(confusion: np.ndarray) -> np.ndarray:
    """Matthews correlation of truth and answers: (...) float64 in [-1, 1]; 0 is chance.

    For K classes, Gorodkin's generalisation. NaN without cases, and where the reference or the
    answers are all one class (scikit-learn says 0 there, MetricsReloaded NaN as we do).

    Args:
        confusion: (..., K, K) counts, rows are the reference.

    Source: Matthews (1975), doi:10.1016/0005-2795(75)90109-9; Gorodkin (2004),
        doi:10.1016/j.compbiolchem.2004.09.006.
    """
    true, answered = confusion.sum(-1), confusion.sum(-2)
    total, right = true.sum(-1), _diagonal(confusion).sum(-1)
    covariance = right * total - (true * answered).sum(-1)
    spread = (total**2 - (true**2).sum(-1)) * (total**2 - (answered**2).sum(-1))
    return ratio(covariance, np.sqrt(spread))


def quadratic_kappa(confusion: np.ndarray) -> np.ndarray:
    """Agreement beyond chance of ordered classes: (...) float64 in [-1, 1]; 1 is perfect.

    A disagreement costs the square of its ranks; 0 is what the two marginal distributions agree on
    by chance. Equals scikit-learn's `cohen_kappa_score(weights="quadratic")`. NaN without cases,
    and where reference and answers are all one and the same class.

    Args:
        confusion: (..., K, K) counts, rows are the reference, classes in order.

    Source: Cohen (1968), doi:10.1037/h0026256.
    """
    cost = _rank_distance(confusion) ** 2
    by_chance = confusion.sum(-1)[..., :, None] * confusion.sum(-2)[..., None, :]
    expected = ratio((cost * by_chance).sum((-2, -1)), confusion.sum((-2, -1)))
    return np.asarray(1 - ratio((cost * confusion).sum((-2, -1)), expected))


def rank_error(confusion: np.ndarray) -> np.ndarray:
    """Mean distance in ranks between answer and truth: (...) >= 0; NaN without cases.

    Args:
        confusion: (..., K, K) counts, rows are the reference, classes in order.
    """
    total = (_rank_distance(confusion) * confusion).sum((-2, -1))
    return ratio(total, confusion.sum((-2, -1)))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise quotient, float64, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    undefined = np.full(numerator.shape, np.nan)
    quotient: np.ndarray = np.divide(numerator, denominator, out=undefined, where=denominator != 0)
    return quotient


def _diagonal(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _rank_distance(confusion: np.ndarray) -> np.ndarray:
    ranks = np.arange(confusion.shape[-1])
    return np.asarray(np.abs(ranks[:, None] - ranks))
