"""Do 95 % intervals cover the truth 93 to 97 % of the time? Cohorts of 36, 72 and 200 patients.

DSC-like values (bounded, skewed, some zeros) and classes of simulated networks, one case per
patient or one to three whose errors go together; the functions are those that `segduet evaluate`
and `segduet compare` call. Shares of few cases can only take few values, so that their coverage
jumps with the truth (Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286): the skill of the
simulated networks is drawn anew for every cohort, and coverage is the mean. Cohorts of 18 patients,
AUROC, and intervals that were tried and not adopted (`discarded`) are measured for information,
without a bar. Cohorts whose resamples all agree, such as all right, have no interval and are
counted apart.

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
from segduet.evaluation.classification import interval_kind
from segduet.evaluation.intervals import (
    IntervalKind,
    mean_estimate,
    paired_difference,
    statistic_estimate,
)
from segduet.evaluation.resampling import resample_weights
from segduet.metrics.confusion import accuracy, confusion_matrix, macro_f1
from segduet.metrics.probability import auroc

SIZES = (36, 72, 200)
#: Fewer patients than the bar is for.
FEW = 18
BAR = (0.93, 0.97)
NUM_RESAMPLES = 2000
#: What cases of one patient share of their latent quality.
CORRELATION = 0.5
#: Class shares of the pancreas quiz's training data, about.
PRIOR = np.array([0.25, 0.42, 0.33])
#: How far simulated networks tell classes apart: macro-F1 of about 0.65 to 0.82 and 0.89 to 0.97.
SKILLS = {"moderate": (1.5, 2.5), "good": (3.0, 4.5)}
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
        barred: whether the bar applies; others are stated for information.
        is_slow: takes longer, and is measured on a tenth of the cohorts.
    """

    name: str
    draw: Draw
    interval: Estimator
    barred: bool = True
    is_slow: bool = False


def main() -> None:
    """Measures every figure at every size, with and without several cases per patient."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cohorts", type=int, default=2000, help="simulated cohorts of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="100 cohorts of 36, nothing written")
    arguments = parser.parse_args()
    num_cohorts, sizes = (100, SIZES[:1]) if arguments.quick else (arguments.cohorts, SIZES)
    started = time.monotonic()
    measure = partial(measured, num_cohorts=num_cohorts, seed=arguments.seed)
    rows = [
        measure(study, num_patients, several)
        for study in studies()
        for several in (False, True)
        for num_patients in sizes
    ]
    barred = [row for row in rows if row["barred"]]
    missed = [row for row in barred if not BAR[0] <= row["coverage"] <= BAR[1]]
    figures = {
        "bar": "each coverage of means, accuracy, macro-F1 and paired differences in 0.93-0.97",
        "passed": not missed,
        "missed": missed,
        "resamples": NUM_RESAMPLES,
        "correlation_within_patients": CORRELATION,
        "rows": rows,
        "few_patients": [
            measure(replace(study, barred=False), FEW, True) for study in studies() if study.barred
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
        "barred": study.barred,
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
                barred=not is_extra,
                is_slow=is_extra,
            )
            for skill in SKILLS
        ]
        found.append(
            Study(
                name=f"paired difference, {metric}",
                draw=partial(draw_two_networks, metric),
                interval=partial(of_class_pair, metric),
                barred=not is_extra,
                is_slow=is_extra,
            )
        )
    return found


def discarded_studies() -> list[Study]:
    """The intervals that were not adopted."""
    found = [
        Study(
            name=f"mean, {name}, {method} at nominal levels",
            draw=partial(draw_values, quantile),
            interval=partial(of_mean_by_scipy, method),
            barred=False,
        )
        for method in ("percentile", "BCa")
        for name, quantile in QUANTILES.items()
    ]
    found += [
        Study(
            name=f"{metric}, {skill}, percentile at nominal levels",
            draw=partial(draw_classes, metric, skill),
            interval=partial(nominal_percentiles, metric),
            barred=False,
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


def draw_two_networks(metric: str, rng: np.random.Generator, sizes: np.ndarray) -> Cohort:
    """Two networks, the second better; half of what makes a case hard is the same for both."""
    low, high = SKILLS["moderate"]
    separation = rng.uniform(low, high - HEADSTART)
    pair = (separation, separation + HEADSTART)
    truths = [true_figure(metric, "moderate", s) for s in pair]
    return truths[1] - truths[0], simulated(pair, rng, sizes)


def simulated(
    separations: tuple[float, ...], rng: np.random.Generator, sizes: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Classes (N,) and the probabilities (N, K) of one network per separation."""
    truth = np.repeat(rng.choice(len(PRIOR), len(sizes), p=PRIOR), sizes)
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
    separations, figures = _true_figures(metric, skill)
    return float(np.interp(separation, separations, figures))


@cache
def _true_figures(metric: str, skill: str) -> tuple[np.ndarray, list[float]]:
    separations = np.linspace(*SKILLS[skill], NUM_SEPARATIONS)
    one_case_each = np.ones(NUM_FOR_TRUTH, dtype=np.int64)
    figures = []
    for separation in separations:
        rng = np.random.default_rng(12345)
        truth, (chances,) = simulated((float(separation),), rng, one_case_each)
        of_ranks = metric == "auroc"
        weights = np.ones(NUM_FOR_TRUTH)
        figures.append(
            true_auroc(truth, chances)
            if of_ranks
            else float(CLASS_FIGURES[metric](truth, chances, weights))
        )
    return separations, figures


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
    figure = CLASS_FIGURES[metric]
    return _estimate(
        lambda weights: figure(truth, chances, weights), patients, seed, interval_kind(metric)
    ).ci95


def of_class_pair(
    metric: str, cohort: tuple[np.ndarray, list[np.ndarray]], patients: list[str], seed: int
) -> Interval:
    """As `segduet compare` states it."""
    truth, (first, second) = cohort
    figure = CLASS_FIGURES[metric]
    return _estimate(
        lambda weights: figure(truth, second, weights) - figure(truth, first, weights),
        patients,
        seed,
        "t",
    ).ci95


def _estimate(
    statistic: Callable[[np.ndarray], np.ndarray],
    patients: list[str],
    seed: int,
    kind: IntervalKind,
) -> Estimate:
    return statistic_estimate(
        statistic,
        patients,
        seed=seed,
        undefined="a class is absent",
        kind=kind,
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
