import pytest

from segduet.evaluation.optimism import with_optimism

FIGURES = {
    "organ": {"dsc": {"mean": 0.8, "ci95": [0.7, 0.896], "n": 20}},
    "kind": {
        "macro_f1": {"value": 1.0, "ci95": None, "n": 20, "reason": "all right"},
        "confusion_matrix": {"classes": ["a", "b"], "counts": [[10, 0], [0, 10]]},
    },
}


def test_every_figure_with_an_interval_says_what_the_best_of_three_gains():
    """F83: E[max of 3] = 1.5 / sqrt(pi) = .8463 standard errors of .196 / 3.92 = .05."""
    found = with_optimism(FIGURES, 3)
    assert found["organ"]["dsc"]["optimism"] == pytest.approx(0.8463 * 0.05, rel=1e-3)
    assert found["organ"]["dsc"]["mean"] == 0.8
    assert found["kind"] == FIGURES["kind"]


def test_more_candidates_more_optimism_and_none_for_one():
    few, many = (with_optimism(FIGURES, n)["organ"]["dsc"]["optimism"] for n in (5, 100))
    assert few < many
    assert with_optimism(FIGURES, 1) == FIGURES
