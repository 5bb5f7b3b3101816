"""Redrawing a cohort by patients: with replacement, relabelled, or with two runs exchanged (B19).

N cases, G patients, R rounds. Cases of one patient always go together.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

NUM_RESAMPLES = 5000
NUM_PERMUTATIONS = 4999
#: Relabelled cohorts held in memory at once.
_CHUNK = 500
#: Two statistics this near are the same one, summed in another order.
_ROUNDING = 1e-12


def patient_groups(patients: Sequence[str]) -> np.ndarray:
    """Number of each case's patient: (N,) int64 in [0, G), patients in alphabetical order."""
    return np.unique(np.asarray(patients), return_inverse=True)[1]


# figures of one evaluation mostly rest on the same patients, and drawing takes longer than using
@lru_cache(maxsize=4)
def patient_draws(num_patients: int, *, seed: int, num_resamples: int) -> np.ndarray:
    """How often each of G patients is drawn with replacement: (R, G) int16, rows sum to G."""
    chances = np.full(num_patients, 1 / num_patients)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(num_patients, chances, size=num_resamples).astype(np.int16)
    draws.setflags(write=False)
    return draws


# one, since it takes four times the memory; regions mostly rest on the same patients
@lru_cache(maxsize=1)
def patient_weights(num_patients: int, *, seed: int, num_resamples: int) -> np.ndarray:
    """`patient_draws` as float64, in which sums over them are computed: (R, G)."""
    draws = patient_draws(num_patients, seed=seed, num_resamples=num_resamples)
    weights = draws.astype(np.float64)
    weights.setflags(write=False)
    return weights


def resample_weights(
    patients: Sequence[str], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> np.ndarray:
    """How often each case is drawn when G patients are drawn with replacement: (R, N) float64."""
    group = patient_groups(patients)
    draws = patient_draws(int(group.max()) + 1, seed=seed, num_resamples=num_resamples)
    return draws[:, group].astype(np.float64)


def relabelled(
    labels: np.ndarray, patients: Sequence[str], *, seed: int, num_rounds: int = NUM_PERMUTATIONS
) -> Iterator[np.ndarray]:
    """Labels dealt out anew over patients, as they might be if they had nothing to do with them.

    Where all cases of a patient have one label, patients swap labels. Where some have several,
    only patients with equally many cases swap theirs, in order, since a label of one case cannot
    be given to two (whole blocks of Winkler et al. 2015, doi:10.1016/j.neuroimage.2015.05.092).

    Args:
        labels: (N, ...) one label per case.
        patients: patient of each case.
        seed: of the dealing.
        num_rounds: relabelled cohorts in total.

    Yields:
        (rounds, N, ...) labels, at most 500 rounds at a time.
    """
    rng = np.random.default_rng(seed)
    group = patient_groups(patients)
    members = [np.flatnonzero(group == g) for g in range(int(group.max()) + 1)]
    have_one_label = all((labels[cases] == labels[cases[0]]).all() for cases in members)
    for start in range(0, num_rounds, _CHUNK):
        rounds = min(_CHUNK, num_rounds - start)
        if have_one_label:
            first = np.array([cases[0] for cases in members])
            yield labels[first[_orders(len(first), rounds, rng)][:, group]]
        else:
            yield labels[_swapped_blocks(members, rounds, rng)]


def exchanges(num_patients: int, *, seed: int, num_rounds: int = NUM_PERMUTATIONS) -> np.ndarray:
    """Whose two answers are exchanged: (R, G) bool, the first row nobody's.

    All 2^G patterns where these are no more than `num_rounds` + 1, random ones otherwise. With the
    first row counted, the share of rows at least as extreme is a p-value that is never 0.

    Source: Phipson and Smyth (2010), doi:10.2202/1544-6115.1585.
    """
    if 2**num_patients <= num_rounds + 1:
        patterns = np.arange(2**num_patients)[:, None] >> np.arange(num_patients)
        return (patterns & 1).astype(bool)
    drawn = np.random.default_rng(seed).random((num_rounds, num_patients)) < 0.5
    return np.concatenate([np.zeros((1, num_patients), dtype=bool), drawn])


def share_as_extreme(rounds: np.ndarray, observed: float) -> float:
    """Share of the rounds with a statistic whose statistic is at least the observed one.

    Args:
        rounds: (R,) statistics, NaN where undefined; among them the observed one.
        observed: the statistic of the cohort as it is.
    """
    tolerance = _ROUNDING * max(1.0, abs(observed))
    return float((rounds[~np.isnan(rounds)] >= observed - tolerance).mean())


def _orders(num_items: int, num_rounds: int, rng: np.random.Generator) -> np.ndarray:
    """Random orders: (rounds, items) int64."""
    return rng.permuted(np.tile(np.arange(num_items), (num_rounds, 1)), axis=1)


def _swapped_blocks(
    members: Sequence[np.ndarray], num_rounds: int, rng: np.random.Generator
) -> np.ndarray:
    """Whose label each case gets where patients with equally many cases swap: (rounds, N)."""
    source = np.empty((num_rounds, sum(len(cases) for cases in members)), dtype=np.int64)
    for size in sorted({len(cases) for cases in members}):
        alike = np.array([cases for cases in members if len(cases) == size])
        orders = _orders(len(alike), num_rounds, rng)
        source[:, alike.ravel()] = alike[orders].reshape(num_rounds, -1)
    return source
