"""Is the difference of two runs on the same cases more than luck? Paired permutation tests (F83).

N cases, G patients, R rounds. Under the null hypothesis it makes no difference which of a patient's
two sets of answers came from which run, so they may be exchanged.
"""

from collections.abc import Sequence

import numpy as np

from segduet.core.tasks import TaskSpec
from segduet.evaluation.measures import task_measures
from segduet.evaluation.resampling import (
    NUM_PERMUTATIONS,
    exchanges,
    patient_groups,
    share_as_extreme,
)

#: What a difference's p means, for `comparison.json`.
TEST_TEXT = (
    "two-sided paired permutation test: the two runs' answers of each patient are exchanged or "
    f"not, in all ways or in {NUM_PERMUTATIONS} random ones; share of ways, the actual one "
    "included, with a difference as large"
)
CORRECTION_TEXT = (
    "Holm's step-down correction for the number of runs compared with the reference, by figure; "
    "not for the number of figures"
)
#: Weights of both runs' cases held in memory at once.
_CHUNK = 500


def sign_flip_p(differences: Sequence[float], patients: Sequence[str], *, seed: int) -> float:
    """Two-sided p of a mean difference: signs of whole patients are flipped.

    All differences 0: 1.

    Args:
        differences: one per case.
        patients: patient of each case.
        seed: of the flips, where there are too many patients for all of them.

    Source: Fisher (1935), The Design of Experiments, section 21; Winkler et al. (2014),
        doi:10.1016/j.neuroimage.2014.01.060, for flips of whole blocks.
    """
    group = patient_groups(patients)
    sums = np.bincount(group, weights=np.asarray(differences, dtype=np.float64))
    signs = 1.0 - 2.0 * exchanges(len(sums), seed=seed)
    flipped = np.abs(signs @ sums) / len(group)
    return share_as_extreme(flipped, float(flipped[0]))


def exchange_p(
    task: TaskSpec,
    metric: str,
    reference: np.ndarray,
    answers: tuple[np.ndarray, np.ndarray],
    patients: Sequence[str],
    *,
    seed: int,
) -> float | None:
    """Two-sided p of the difference of a cohort figure, such as macro-F1, between two runs.

    Args:
        task: the question.
        metric: one of the task's figures.
        reference: the truth, as `task_measures` takes it.
        answers: (N, A) of the one and of the other run, for the same cases.
        patients: patient of each case.
        seed: of the exchanges, where there are too many patients for all of them.

    Returns:
        p in (0, 1]; None where the figure of either run is undefined.

    Source: Yeh (2000), doi:10.3115/992730.992783 (randomisation for F-scores).
    """
    # both runs' answers in one list: a round weighs either the one or the other of each case
    measure = task_measures(
        task, np.concatenate([reference, reference]), np.concatenate(answers)
    ).overall[metric]
    group = patient_groups(patients)
    patterns = exchanges(int(group.max()) + 1, seed=seed)
    found = []
    for start in range(0, len(patterns), _CHUNK):
        swapped = patterns[start : start + _CHUNK][:, group].astype(np.float64)
        first = measure.statistic(np.concatenate([1 - swapped, swapped], axis=1))
        second = measure.statistic(np.concatenate([swapped, 1 - swapped], axis=1))
        found.append(np.abs(second - first))
    rounds = np.concatenate(found)
    return None if np.isnan(rounds[0]) else share_as_extreme(rounds, float(rounds[0]))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction; None stays None and does not count.

    Args:
        p_values: of one family of tests, each in [0, 1].

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65.
    """
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        corrected[i] = largest
    return corrected
