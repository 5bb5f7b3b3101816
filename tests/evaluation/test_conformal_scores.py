"""B16: figures of sets, abstentions and flags, by hand."""

import numpy as np
import pytest

from segduet.evaluation.conformal_scores import JudgedAnswers, flag_figures, set_figures


def judged(**changes: object) -> JudgedAnswers:
    """Six cases: sets a, ab, b, b, none, ab; the third and fifth answers are wrong."""
    content = {
        "classes": ("a", "b"),
        "reference": np.array([0, 0, 0, 1, 1, 1]),
        "decided": np.array([0, 0, 1, 1, 0, 1]),
        "members": np.array([[1, 0], [1, 1], [0, 1], [0, 1], [0, 0], [1, 1]], dtype=bool),
        "abstains": np.array([False, True, False, False, True, True]),
        "patients": tuple("pqrstu"),
    }
    return JudgedAnswers(**{**content, **changes})


def test_figures_by_hand() -> None:
    figures = set_figures(judged(), seed=0)
    assert figures["coverage"]["value"] == pytest.approx(4 / 6)
    assert figures["coverage_by_class"]["a"]["value"] == pytest.approx(2 / 3)
    assert figures["coverage_by_class"]["b"]["value"] == pytest.approx(2 / 3)
    assert figures["mean_set_size"]["value"] == pytest.approx(7 / 6)
    assert figures["empty_sets"]["value"] == pytest.approx(1 / 6)
    assert figures["abstention_rate"]["value"] == pytest.approx(1 / 2)
    assert figures["accuracy_answered"]["value"] == pytest.approx(2 / 3)
    assert figures["accuracy_all"]["value"] == pytest.approx(4 / 6)
    counts = [figures[k]["n"] for k in ("coverage", "abstention_rate", "accuracy_answered")]
    assert counts == [6, 6, 3]
    assert figures["coverage_by_class"]["a"]["n"] == 3


def test_intervals_are_over_patients() -> None:
    """One patient has no interval; with many there is one around the figure."""
    alone = set_figures(judged(patients=("p",) * 6), seed=0)
    assert alone["coverage"]["ci95"] is None
    assert "one patient" in alone["coverage"]["reason"]
    low, high = set_figures(judged(), seed=0)["coverage"]["ci95"]
    assert low < 4 / 6 < high


def test_shares_get_the_score_interval_and_sizes_do_not() -> None:
    """B19: of 30 patients of whom 27 are covered, Wilson's interval with t for z, by hand."""
    n, share, t = 30, 0.9, 2.04523
    holds = np.arange(n) < 27
    figures = set_figures(
        JudgedAnswers(
            classes=("a",),
            reference=np.zeros(n, int),
            decided=np.zeros(n, int),
            members=holds[:, None],
            abstains=~holds,
            patients=tuple(f"p{i}" for i in range(n)),
        ),
        seed=0,
    )
    n_effective = n - 1  # the standard error is that of G / (G - 1)
    middle = (share + t**2 / (2 * n_effective)) / (1 + t**2 / n_effective)
    half = (
        t
        * np.sqrt(share * (1 - share) / n_effective + t**2 / (4 * n_effective**2))
        / (1 + t**2 / n_effective)
    )
    assert figures["coverage"]["ci95"] == pytest.approx((middle - half, middle + half), abs=0.01)
    assert figures["abstention_rate"]["ci95"] == pytest.approx(
        (1 - middle - half, 1 - middle + half), abs=0.01
    )
    # percentiles of a size: no further from the figure than the most extreme resample
    assert figures["mean_set_size"]["ci95"][1] == pytest.approx(1.0, abs=0.011)


def test_what_nobody_belongs_to_says_so() -> None:
    figures = set_figures(judged(reference=np.zeros(6, int), abstains=np.ones(6, bool)), seed=0)
    assert figures["coverage_by_class"]["b"] == {
        "value": None,
        "ci95": None,
        "n": 0,
        "reason": "no case of class 'b'",
    }
    assert figures["accuracy_answered"]["reason"] == "no case was answered"


def test_flags_tell_how_right_the_class_is_with_and_without_them() -> None:
    figures = flag_figures(
        np.array([True, True, False, False]),
        np.array([True, False, True, True]),
        ("p", "q", "r", "s"),
        seed=0,
    )
    assert figures["flagged"]["value"] == 0.5
    assert (figures["accuracy_flagged"]["value"], figures["accuracy_flagged"]["n"]) == (0.5, 2)
    assert figures["accuracy_consistent"]["value"] == 1
