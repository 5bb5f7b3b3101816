"""F85: a no-op is 0 % within its interval, a slower arm is found, and a mean alone says nothing."""

import numpy as np
import pytest

from segduet.evaluation import paired_timing
from segduet.evaluation.paired_timing import (
    ArmName,
    Finding,
    abba_order,
    finding,
    mean_ratio,
    median_amount,
    median_ratio,
)

SEEDS = range(300)
ROUNDS = 10


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired_timing, "NUM_RESAMPLES", 600)


def samples(seed: int, *, speedup: float, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Ten rounds whose machine drifts by 20 %, which pairs must cancel, with a few bad moments."""
    rng = np.random.default_rng(seed)
    drift = np.linspace(1.0, 1.2, ROUNDS)
    hiccups = 1 + (rng.random((2, ROUNDS)) < 0.1) * 0.3
    amounts = drift * hiccups * np.exp(rng.normal(0, noise, (2, ROUNDS)))
    return amounts[0], amounts[1] * speedup


@pytest.mark.parametrize(("estimate", "least"), [(mean_ratio, 0.93), (median_ratio, 0.88)])
@pytest.mark.parametrize("speedup", [1.0, 2.5])
def test_the_interval_covers_the_true_ratio_as_often_as_it_says(
    estimate, least: float, speedup: float
) -> None:
    """In 300 trials; an interval of the mean by percentiles covers 88 % here."""
    found = [estimate(*samples(seed, speedup=speedup), seed=seed).ci95 for seed in SEEDS]
    assert np.mean([low <= speedup <= high for low, high in found]) >= least


def test_the_interval_is_no_wider_than_needed() -> None:
    """Noise of 5 % in both arms: a standard error of 5 % * sqrt(2 / 10) = 2.2 %, times 2.3."""
    rng = np.random.default_rng(0)
    widths = []
    for seed in range(100):
        a, b = np.exp(rng.normal(0, 0.05, (2, ROUNDS)))
        low, high = mean_ratio(a, b, seed=seed).ci95
        widths.append(np.log(high / low) / 2)
    assert np.median(widths) == pytest.approx(0.0224 * 2.3, rel=0.1)


def test_a_no_op_is_rarely_called_a_difference() -> None:
    """F85: the same command twice."""
    said = [finding(mean_ratio(*samples(seed, speedup=1.0), seed=seed)) for seed in SEEDS]
    assert np.mean([f is Finding.NO_DIFFERENCE_SHOWN for f in said]) >= 0.93


@pytest.mark.parametrize(("speedup", "wanted"), [(1.4, Finding.FASTER), (1 / 1.4, Finding.SLOWER)])
def test_an_injected_delay_is_found(speedup: float, wanted: Finding) -> None:
    """F85: in at least 95 of 100 benchmarks."""
    said = [finding(mean_ratio(*samples(seed, speedup=speedup), seed=seed)) for seed in range(100)]
    assert said.count(wanted) >= 95


def test_the_ratio_is_the_geometric_mean_of_the_rounds() -> None:
    """By hand: ratios 2, 2, 2, 2 and 32 have the geometric mean 2 * 16**(1/5) and the median 2."""
    candidate, baseline = [1.0, 2.0, 3.0, 4.0, 1.0], [2.0, 4.0, 6.0, 8.0, 32.0]
    mean = mean_ratio(candidate, baseline, seed=0)
    assert mean.value == pytest.approx(2 * 16**0.2)
    assert mean.n == 5
    assert median_ratio(candidate, baseline, seed=0).value == pytest.approx(2.0)
    assert mean == mean_ratio(candidate, baseline, seed=0)


def test_exchanging_the_arms_inverts_the_ratio() -> None:
    a, b = samples(3, speedup=1.7)
    assert mean_ratio(a, b, seed=0).value == pytest.approx(1 / mean_ratio(b, a, seed=0).value)


@pytest.mark.parametrize(
    ("candidate", "baseline", "reason"),
    [
        ([1.0] * 4, [2.0] * 4, "too few"),
        ([1.0] * 10, [9.0] * 10, "all rounds are equal"),
        ([0.0] * 10, [9.0] * 10, "amount of 0"),
        ([1.0] * 10, [9.0] * 9 + [99.0], "stands apart"),
    ],
)
def test_without_an_interval_nothing_is_decided(candidate, baseline, reason: str) -> None:
    """Nine times as fast on average, and still no verdict."""
    found = mean_ratio(candidate, baseline, seed=0)
    assert found.ci95 is None
    assert reason in found.reason
    assert finding(found) is Finding.NO_DIFFERENCE_SHOWN


def test_a_median_has_its_own_interval() -> None:
    found = median_amount([1.0, 2.0, 3.0, 4.0, 50.0], seed=0)
    assert found.value == 3.0
    assert found.ci95[0] < 3.0 < found.ci95[1]


@pytest.mark.parametrize("seed", range(20))
def test_every_two_rounds_are_abba_or_baab(seed: int) -> None:
    """Each arm is first equally often, and a drift over two rounds cancels."""
    order = abba_order(10, seed=seed)
    assert order == abba_order(10, seed=seed)
    for first, second in zip(order[::2], order[1::2], strict=True):
        assert first == second[::-1]
        assert set(first) == set(ArmName)
    assert [f for f, _ in order].count(ArmName.CANDIDATE) == 5


def test_seeds_begin_with_either_arm() -> None:
    assert {abba_order(1, seed=seed)[0][0] for seed in range(20)} == set(ArmName)
    assert len(abba_order(7, seed=0)) == 7
    assert abba_order(0, seed=0) == []
