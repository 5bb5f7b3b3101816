"""Several images of one patient give one answer, by a declared rule (B06).

M images of a patient, K classes, F features.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np

from segduet.core.scores import Score


class PatientRule(StrEnum):
    """How a patient's images answer together.

    `mean` averages their probabilities; `evidence_weighted` weighs them by the voxels of evidence
    each rests on; `trained` fits a classifier on order statistics over the images.
    """

    MEAN = "mean"
    EVIDENCE_WEIGHTED = "evidence_weighted"
    TRAINED = "trained"


_STATISTICS = ("min", "mean", "max")


def mean_answer(probabilities: np.ndarray) -> np.ndarray:
    """Mean over a patient's images: (K,) float64, whatever their order.

    Args:
        probabilities: (M, K), rows sum to 1; M >= 1.
    """
    return evidence_weighted_answer(probabilities, np.ones(len(probabilities)))


def evidence_weighted_answer(probabilities: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Mean weighted by each image's evidence: (K,) float64, whatever their order.

    An image without evidence has no say; where none has any, all count alike.

    Args:
        probabilities: (M, K), rows sum to 1; M >= 1.
        evidence: (M,) >= 0, such as the voxels of the predicted lesion.
    """
    assert len(probabilities) == len(evidence) >= 1
    assert (np.asarray(evidence) >= 0).all()
    weights = np.asarray(evidence, dtype=np.float64)
    weights = weights if weights.any() else np.ones(len(weights))
    # exact sums do not depend on the order of the images
    weighted = [math.fsum(column) for column in (probabilities * weights[:, None]).T]
    return np.asarray(weighted) / math.fsum(weighted)


def order_statistics(names: Sequence[str], values: np.ndarray) -> dict[str, Score]:
    """Smallest, mean and largest of each number over a patient's images, whatever their order.

    With two images this is all there is to know but which value came from which. A patient with
    one image has three equal numbers; one whose numbers are all NaN has none.

    Args:
        names: (F,) what the numbers are called.
        values: (M, F) float; M >= 1.

    Returns:
        `<statistic>.<name>` for min, mean and max.
    """
    assert values.shape[0] >= 1
    assert values.shape[1] == len(names)
    found: dict[str, Score] = {}
    for name, column in zip(names, values.T.tolist(), strict=True):
        defined = sorted(v for v in column if not math.isnan(v))
        missing = Score(value=None, reason="undefined in every image")
        numbers = (defined[0], math.fsum(defined) / len(defined), defined[-1]) if defined else None
        for place, statistic in enumerate(_STATISTICS):
            score = Score(value=float(numbers[place])) if numbers else missing
            found[f"{statistic}.{name}"] = score
    return found


def patients_with_fewer_images(images: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Patients that have fewer images than most have, and how many: {} where all are alike.

    Args:
        images: patient -> its cases.
    """
    counts = Counter(len(cases) for cases in images.values())
    if not counts:
        return {}
    usual = max(counts, key=lambda n: (counts[n], n))
    return {patient: len(cases) for patient, cases in images.items() if len(cases) < usual}
