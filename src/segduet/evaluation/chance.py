"""Could the classes have been guessed? A permutation test of a task's figures against chance.

N cases, K classes or findings, R relabelled cohorts.
"""

from collections.abc import Sequence

import numpy as np

from segduet.core.answers import decided_findings
from segduet.evaluation.classification import TaskAnswers
from segduet.evaluation.resampling import NUM_PERMUTATIONS, relabelled, share_as_extreme
from segduet.metrics.confusion import balanced_accuracy, macro_f1

#: What `p_chance` means, for `summary.json`.
CHANCE_TEXT = (
    f"one-sided permutation test, reference classes dealt out anew over patients "
    f"{NUM_PERMUTATIONS} times: share of cohorts, this one included, whose figure is as high"
)


def chance_p_values(
    answers: TaskAnswers, *, seed: int, num_rounds: int = NUM_PERMUTATIONS
) -> dict[str, float]:
    """How often answers that know nothing about the case reach a task's figures.

    For macro-F1 and balanced accuracy, and AUROC where the kind has one. Small p: the answers are
    related to the classes. Nothing for a regression, fewer than two patients, or where all cases
    have the same truth, which leaves nothing to deal out.

    Args:
        answers: what is true and what was answered.
        seed: of the dealing.
        num_rounds: relabelled cohorts.

    Returns:
        Metric name -> p in (0, 1].

    Source: Ojala and Garriga (2010), JMLR 11:1833, test 1; Phipson and Smyth (2010),
        doi:10.2202/1544-6115.1585, for counting the cohort itself.
    """
    task, truth = answers.task, answers.reference
    if task.kind == "regression" or len(set(answers.patients)) < 2:
        return {}
    if (truth == truth[0]).all():
        return {}
    observed = _figures(answers, truth[None])
    dealt = relabelled(truth, answers.patients, seed=seed, num_rounds=num_rounds)
    rounds = [_figures(answers, truths) for truths in dealt]
    return {
        name: share_as_extreme(np.concatenate([figure, *(r[name] for r in rounds)]), figure[0])
        for name, figure in observed.items()
        if not np.isnan(figure[0])
    }


def _figures(answers: TaskAnswers, truths: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of relabelled cohorts: metric name -> (R,)."""
    num_classes = len(answers.task.classes)
    if answers.task.kind == "multilabel":
        held = [truths[:, :, k].astype(np.float64) for k in range(num_classes)]
        said = decided_findings(answers.probabilities).astype(np.float64)
        return {"macro_f1": _finding_f1(held, said), "auroc": _auroc(held, answers.probabilities)}
    held = [(truths == k).astype(np.float64) for k in range(num_classes)]
    said = np.eye(num_classes)[answers.predicted]
    confusion = np.stack([of_class @ said for of_class in held], axis=1)
    figures = {"macro_f1": macro_f1(confusion), "balanced_accuracy": balanced_accuracy(confusion)}
    if answers.task.kind == "ordinal":
        return figures
    return {**figures, "auroc": _auroc(held, answers.probabilities)}


def _finding_f1(held: Sequence[np.ndarray], said: np.ndarray) -> np.ndarray:
    """Mean F1 over findings: (R,); one neither held nor named counts 0."""
    each = []
    for k, of_finding in enumerate(held):
        involved = of_finding.sum(-1) + said[:, k].sum()
        right = of_finding @ said[:, k]
        each.append(np.divide(2 * right, involved, out=np.zeros_like(right), where=involved > 0))
    mean: np.ndarray = np.mean(each, axis=0)
    return mean


def _auroc(held: Sequence[np.ndarray], scores: np.ndarray) -> np.ndarray:
    """Mean over classes of one against the rest: (R,), NaN where a class is absent or alone.

    From rank sums, which all relabelled cohorts share; equal to `metrics.probability.auroc`.
    """
    ranks = np.apply_along_axis(_ranks, 0, scores)
    each = []
    for k, of_class in enumerate(held):
        inside = of_class.sum(-1)
        outside = len(scores) - inside
        won = of_class @ ranks[:, k] - inside * (inside + 1) / 2
        pairs = inside * outside
        each.append(np.divide(won, pairs, out=np.full_like(won, np.nan), where=pairs > 0))
    mean: np.ndarray = np.mean(each, axis=0)
    return mean


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1, equal values sharing their mean rank, as `scipy.stats.rankdata`: (N,) float64."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return shared
