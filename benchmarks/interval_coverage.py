"""Do 95 % intervals cover the truth 93 to 97 % of the time? Cohorts of 36, 72 and 200 patients.

DSC-like values (bounded, skewed, some zeros) and classes of simulated networks, one case per
patient or one to three whose errors go together; the functions are those that `segduet evaluate`
and `segduet compare` call. Shares of few cases can only take few values, so that their coverage
jumps with the truth (Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286): the skill of the
simulated networks is drawn anew for every cohort, and coverage is the mean. Cohorts of 18 patients,
AUROC, and intervals that were tried and not adopted (`discarded`) are measured for information,
without a bar. Cohorts without an interval (all ranked rightly, a class that is absent) are counted
apart.

Networks that are nearly always right, at 10 to 72 patients: many cohorts are answered all rightly,
and have an interval as all others have. Here the truth is one figure, of which few cases allow only
few values, so that the bar is 93 % or more.

Writes docs/results/interval_coverage.json unless --quick. One process, one core:
python benchmarks/interval_coverage.py
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from scipy import stats

from results_file import write_result
from segduet.core.scores import Estimate
from segduet.core.tasks import TaskSpec
from segduet.evaluation.classification import interval_kind
from segduet.evaluation.intervals import (
    IntervalKind,
    mean_estimate,
    paired_difference,
    statistic_estimate,
)
from segduet.evaluation.measures import Measure, task_measures
from segduet.evaluation.resampling import resample_weights
from segduet.metrics.confusion import accuracy, confusion_matrix, macro_f1
from segduet.metrics.probability import auroc

SIZES = (36, 72, 200)
#: Fewer patients than the bar is for.
FEW = 18
BAR = (0.93, 0.97)
#: Of networks that are nearly always right.
NEAR_SIZES, NEAR_BAR = (10, 30, 36, 72), (0.93, 1.0)
NUM_RESAMPLES = 2000
#: What cases of one patient share of their latent quality.
CORRELATION = 0.5
#: Class shares of the pancreas quiz's training data, about, and with a rare class.
PRIORS = {"quiz": np.array([0.25, 0.42, 0.33]), "a rare class": np.array([0.1, 0.5, 0.4])}
PRIOR = PRIORS["quiz"]
TASK = TaskSpec(name="kind", classes=("a", "b", "c"))
#: How far simulated networks tell classes apart: macro-F1 of about 0.65 to 0.82 and 0.89 to 0.97.
SKILLS = {"moderate": (1.5, 2.5), "good": (3.0, 4.5)}
#: Where the separations of figures near 1 are looked for, and the figures: metric, prior, truth.
NEAR_SKILLS = (3.5, 7.0)
NEAR_FIGURES = (
    ("accuracy", "quiz", 0.97),
    ("accuracy", "quiz", 0.99),
    ("macro_f1", "quiz", 0.97),
    ("macro_f1", "a rare class", 0.97),
)
#: By how much the better of two networks tells them further apart.
HEADSTART = 0.6
#: Cases the true value of a class figure is taken from, at each of some separations.
NUM_FOR_TRUTH, NUM_SEPARATIONS = 300_000, 9

Interval = tuple[float, float] | None
#: the true figure of its population, and what was observed
Cohort = tuple[float, Any]
Draw = Callable[[np.random.Generator, np.ndarray], Cohort]
Estimator = Callable[[Any, list[str], int], Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One figure of one kind of cohort.

    Attributes:
        name: of the figure and the kind of values.
        draw: (generator, cases of each patient) -> the truth and a cohort.
        interval: what was observed, patients, seed -> interval.
        bar: what the coverage has to lie between; None states it for information.
        sizes: patients of its cohorts.
        is_slow: takes longer, and is measured on a tenth of the cohorts.
    """

    name: str
    draw: Draw
    interval: Estimator
    bar: tuple[float, float] | None = BAR
    sizes: tuple[int, ...] = SIZES
    is_slow: bool = False


def main() -> None:
    """Measures every figure at every size, with and without several cases per patient."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cohorts", type=int, default=2000, help="simulated cohorts of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="100 small cohorts, nothing written")
    arguments = parser.parse_args()
    num_cohorts, num_sizes = (100, 1) if arguments.quick else (arguments.cohorts, None)
    started = time.monotonic()
    measure = partial(measured, num_cohorts=num_cohorts, seed=arguments.seed)
    rows = [
        measure(study, num_patients, several)
        for study in studies()
        for several in (False, True)
        for num_patients in study.sizes[:num_sizes]
    ]
    barred = [row for row in rows if row["bar"]]
    missed = [row for row in barred if not row["bar"][0] <= row["coverage"] <= row["bar"][1]]
    figures = {
        "bar": "each coverage of means, accuracy, macro-F1 and paired differences in 0.93-0.97; "
        "of networks that are nearly always right, 0.93 or more",
        "passed": not missed,
        "missed": missed,
        "resamples": NUM_RESAMPLES,
        "correlation_within_patients": CORRELATION,
        "rows": rows,
        "few_patients": [
            measure(replace(study, bar=None), FEW, True) for study in studies() if study.bar == BAR
        ],
        "discarded": [measure(study, FEW, True) for study in discarded_studies()],
        "selected_from": "intervals were chosen among eight kinds on other simulated cohorts",
    }
    print(f"{time.monotonic() - started:.0f} s, passed: {not missed}, missed: {missed}")
    if not arguments.quick:
        print(write_result("interval_coverage", seeds=[arguments.seed], figures=figures))


def measured(
    study: Study, num_patients: int, several: bool, *, num_cohorts: int, seed: int
) -> dict[str, Any]:
    """Coverage of one figure over simulated cohorts, those without an interval counted apart."""
    sizes = np.resize([1, 2, 3], num_patients) if several else np.ones(num_patients, np.int64)
    patients = np.repeat([f"p{i}" for i in range(num_patients)], sizes).tolist()
    rng = np.random.default_rng([seed, num_patients, several, *study.name.encode()])
    num_cohorts = num_cohorts // 10 if study.is_slow else num_cohorts
    found = []
    for _ in range(num_cohorts):
        truth, observed = study.draw(rng, sizes)
        # one seed for all cohorts of a kind: evaluation resamples with one seed, too
        interval = study.interval(observed, patients, seed)
        if interval is not None:
            found.append((truth, *interval))
    truths, low, high = np.array(found).T
    row = {
        "figure": study.name,
        "patients": num_patients,
        "cases": int(sizes.sum()),
        "cohorts": num_cohorts,
        **_shares(truths, low, high),
        "without_interval": round(1 - len(found) / num_cohorts, 4),
        "bar": study.bar,
    }
    print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
    return row


def _shares(truths: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, float]:
    coverage = float(((low <= truths) & (truths <= high)).mean())
    shares = {
        "coverage": coverage,
        "standard_error": float(np.sqrt(coverage * (1 - coverage) / truths.size)),
        "truth_below": float((truths < low).mean()),
        "truth_above": float((truths > high).mean()),
        "mean_truth": float(truths.mean()),
        "median_width": float(np.median(high - low)),
    }
    return {key: round(value, 4) for key, value in shares.items()}


# the figures -------------------------------------------------------------------------------------


def studies() -> list[Study]:
    """What is measured: means and class figures of one run, and paired differences of two."""
    found = [
        Study(name=f"mean, {name}", draw=partial(draw_values, quantile), interval=of_mean)
        for name, quantile in QUANTILES.items()
    ]
    found += [
        Study(
            name=f"paired difference of means, {name}",
            draw=partial(draw_pairs, QUANTILES[name]),
            interval=of_pair,
        )
        for name in ("organ", "lesion")
    ]
    for metric in CLASS_FIGURES:
        is_extra = metric == "auroc"
        found += [
            Study(
                name=f"{metric}, {skill}",
                draw=partial(draw_classes, metric, skill),
                interval=partial(of_classes, metric),
                bar=None if is_extra else BAR,
                is_slow=is_extra,
            )
            for skill in SKILLS
        ]
        found.append(
            Study(
                name=f"paired difference, {metric}",
                draw=partial(draw_two_networks, metric),
                interval=partial(of_class_pair, metric),
                bar=None if is_extra else BAR,
                is_slow=is_extra,
            )
        )
    return found + [
        Study(
            name=f"{metric} of {truth}, {prior}",
            draw=partial(draw_nearly_right, metric, prior, truth),
            interval=partial(of_classes, metric),
            bar=NEAR_BAR,
            sizes=NEAR_SIZES,
        )
        for metric, prior, truth in NEAR_FIGURES
    ]


def discarded_studies() -> list[Study]:
    """The intervals that were not adopted."""
    found = [
        Study(
            name=f"mean, {name}, {method} at nominal levels",
            draw=partial(draw_values, quantile),
            interval=partial(of_mean_by_scipy, method),
            bar=None,
        )
        for method in ("percentile", "BCa")
        for name, quantile in QUANTILES.items()
    ]
    found += [
        Study(
            name=f"{metric}, {skill}, percentile at nominal levels",
            draw=partial(draw_classes, metric, skill),
            interval=partial(nominal_percentiles, metric),
            bar=None,
            is_slow=metric == "auroc",
        )
        for metric in CLASS_FIGURES
        for skill in SKILLS
    ]
    return found


# values between 0 and 1 --------------------------------------------------------------------------

GAIN = 0.02
Quantile = Callable[[np.ndarray], np.ndarray]


def _lesion(share: np.ndarray) -> np.ndarray:
    found = stats.beta.ppf(np.clip((share - 0.12) / 0.88, 0, 1), 3.5, 1.5)
    return np.where(share < 0.12, 0.0, found)


#: A large organ, an organ with a long tail of failures, and a lesion that is missed in 12 %.
QUANTILES: Mapping[str, Quantile] = {
    "organ": lambda share: stats.beta.ppf(share, 18, 2),
    "tailed": lambda share: stats.beta.ppf(share, 9, 1),
    "lesion": _lesion,
}


@cache
def mean_of(quantile: Quantile) -> float:
    """Mean of the distribution with this quantile function."""
    return float(quantile((np.arange(1_000_000) + 0.5) / 1_000_000).mean())


def draw_values(quantile: Quantile, rng: np.random.Generator, sizes: np.ndarray) -> Cohort:
    """Values of a cohort, (N,), those of one patient correlated (a Gaussian copula)."""
    return mean_of(quantile), quantile(stats.norm.cdf(_correlated(rng, sizes)))


def draw_pairs(quantile: Quantile, rng: np.random.Generator, sizes: np.ndarray) -> Cohort:
    """Two runs: the second better by `GAIN` in the mean, by another amount in every case."""
    _, first = draw_values(quantile, rng, sizes)
    return GAIN, (first, first + GAIN * (1 + 2 * (rng.exponential(size=first.size) - 1)))


def _correlated(rng: np.random.Generator, sizes: np.ndarray, *shape: int) -> np.ndarray:
    """Standard normal numbers (N, *shape), `CORRELATION` between cases of a patient."""
    own = rng.standard_normal((int(sizes.sum()), *shape))
    shared = np.repeat(rng.standard_normal((len(sizes), *shape)), sizes, axis=0)
    return np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * own


def of_mean(values: np.ndarray, patients: list[str], seed: int) -> Interval:
    """As `segduet evaluate` states it."""
    return mean_estimate(values.tolist(), patients, seed=seed, num_resamples=NUM_RESAMPLES).ci95


def of_pair(pair: tuple[np.ndarray, np.ndarray], patients: list[str], seed: int) -> Interval:
    """As `segduet compare` states it."""
    return paired_difference(*(values.tolist() for values in pair), patients, seed=seed).ci95


def of_mean_by_scipy(method: str, values: np.ndarray, patients: list[str], seed: int) -> Interval:
    """The same means by scipy, whose levels are not widened."""
    group = np.unique(patients, return_inverse=True)[1]
    result = stats.bootstrap(
        (np.bincount(group, weights=values), np.bincount(group)),
        lambda sums, counts, axis=-1: sums.sum(axis) / counts.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=999,
        method=method,
        rng=np.random.default_rng(seed),
    )
    return tuple(result.confidence_interval)


# classes -----------------------------------------------------------------------------------------


def _of_matrix(
    figure: Callable[[np.ndarray], np.ndarray],
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    def weighted(truth: np.ndarray, chances: np.ndarray, weights: np.ndarray) -> np.ndarray:
        matrix = confusion_matrix(truth, chances.argmax(1), num_classes=len(PRIOR), weights=weights)
        return figure(matrix)

    return weighted


CLASS_FIGURES: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "accuracy": _of_matrix(accuracy),
    "macro_f1": _of_matrix(macro_f1),
    "auroc": lambda truth, chances, weights: auroc(truth, chances, weights=weights),
}


def draw_classes(metric: str, skill: str, rng: np.random.Generator, sizes: np.ndarray) -> Cohort:
    """One network of some skill: classes (N,), one per patient, and probabilities (N, K)."""
    separation = rng.uniform(*SKILLS[skill])
    return true_figure(metric, skill, separation), simulated((separation,), rng, sizes)


def draw_nearly_right(
    metric: str, prior: str, truth: float, rng: np.random.Generator, sizes: np.ndarray
) -> Cohort:
    """A network whose figure is `truth` in the population."""
    figures = _true_figures(metric, NEAR_SKILLS, prior)
    separation = float(np.interp(truth, figures, _separations(NEAR_SKILLS)))
    return truth, simulated((separation,), rng, sizes, prior)


def draw_two_networks(metric: str, rng: np.random.Generator, sizes: np.ndarray) -> Cohort:
    """Two networks, the second better; half of what makes a case hard is the same for both."""
    low, high = SKILLS["moderate"]
    separation = rng.uniform(low, high - HEADSTART)
    pair = (separation, separation + HEADSTART)
    truths = [true_figure(metric, "moderate", s) for s in pair]
    return truths[1] - truths[0], simulated(pair, rng, sizes)


def simulated(
    separations: tuple[float, ...],
    rng: np.random.Generator,
    sizes: np.ndarray,
    prior: str = "quiz",
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Classes (N,) and the probabilities (N, K) of one network per separation."""
    truth = np.repeat(rng.choice(len(PRIOR), len(sizes), p=PRIORS[prior]), sizes)
    shared = _correlated(rng, sizes, len(PRIOR))
    answers = []
    for separation in separations:
        own = _correlated(rng, sizes, len(PRIOR))
        scores = np.sqrt(0.5) * (shared + own) * 1.4 + separation * np.eye(len(PRIOR))[truth]
        exponentials = np.exp(scores - scores.max(1, keepdims=True))
        answers.append(exponentials / exponentials.sum(1, keepdims=True))
    return truth, answers


def true_figure(metric: str, skill: str, separation: float) -> float:
    """A class figure in the population, between separations at which it was computed."""
    figures = _true_figures(metric, SKILLS[skill], "quiz")
    return float(np.interp(separation, _separations(SKILLS[skill]), figures))


def _separations(skills: tuple[float, float]) -> np.ndarray:
    return np.linspace(*skills, NUM_SEPARATIONS)


@cache
def _true_figures(metric: str, skills: tuple[float, float], prior: str) -> list[float]:
    one_case_each = np.ones(NUM_FOR_TRUTH, dtype=np.int64)
    figures = []
    for separation in _separations(skills):
        rng = np.random.default_rng(12345)
        truth, (chances,) = simulated((float(separation),), rng, one_case_each, prior)
        of_ranks = metric == "auroc"
        weights = np.ones(NUM_FOR_TRUTH)
        figures.append(
            true_auroc(truth, chances)
            if of_ranks
            else float(CLASS_FIGURES[metric](truth, chances, weights))
        )
    return figures


def true_auroc(truth: np.ndarray, chances: np.ndarray) -> float:
    """Mean AUROC of one class against the rest, from ranks."""
    ranks = stats.rankdata(chances, axis=0)
    areas = []
    for k in range(chances.shape[1]):
        inside = truth == k
        n, m = inside.sum(), (~inside).sum()
        areas.append((ranks[inside, k].sum() - n * (n + 1) / 2) / (n * m))
    return float(np.mean(areas))


def of_classes(
    metric: str, cohort: tuple[np.ndarray, list[np.ndarray]], patients: list[str], seed: int
) -> Interval:
    """As `segduet evaluate` states it."""
    truth, (chances,) = cohort
    measure = task_measures(TASK, truth, chances).overall[metric]
    return _estimate(measure, patients, seed, interval_kind(metric)).ci95


def of_class_pair(
    metric: str, cohort: tuple[np.ndarray, list[np.ndarray]], patients: list[str], seed: int
) -> Interval:
    """As `segduet compare` states it."""
    truth, (first, second) = cohort
    figure = CLASS_FIGURES[metric]

    def difference(weights: np.ndarray) -> np.ndarray:
        return figure(truth, second, weights) - figure(truth, first, weights)

    return _estimate(Measure(statistic=difference), patients, seed, "t").ci95


def _estimate(measure: Measure, patients: list[str], seed: int, kind: IntervalKind) -> Estimate:
    return statistic_estimate(
        measure.statistic,
        patients,
        seed=seed,
        undefined="a class is absent",
        kind=kind,
        denominators=measure.denominators,
        num_resamples=NUM_RESAMPLES,
    )


def nominal_percentiles(
    metric: str, cohort: tuple[np.ndarray, list[np.ndarray]], patients: list[str], seed: int
) -> Interval:
    """The percentile interval that summaries had before."""
    truth, (chances,) = cohort
    weights = resample_weights(patients, seed=seed, num_resamples=NUM_RESAMPLES)
    resampled = CLASS_FIGURES[metric](truth, chances, weights)
    defined = resampled[~np.isnan(resampled)]
    if defined.size < 0.95 * resampled.size or np.ptp(defined) == 0:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
