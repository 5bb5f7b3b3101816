import json

import numpy as np
import pytest

from segduet.metrics.probability import auroc, brier, ece, ece_kde, macro_average_precision


def test_hand_worked_ranking_with_a_tie():
    """Positive scores .8 .4, negative .4 .1: wins 1, 1, 0.5, 1 of 4 pairs."""
    positive = np.array([0.8, 0.4, 0.4, 0.1])
    area = auroc(np.array([1, 1, 0, 0]), np.stack([1 - positive, positive], axis=1))
    assert float(area) == pytest.approx(3.5 / 4)


def test_auroc_is_undefined_where_a_class_is_absent():
    """Not a mean over the remaining classes."""
    probabilities = np.full((4, 3), 1 / 3)
    assert np.isnan(auroc(np.array([0, 1, 0, 1]), probabilities))
    assert np.isnan(auroc(np.array([0, 0, 0, 0]), probabilities))


def test_hand_worked_brier():
    """(.2^2 + .2^2) and (.5^2 + .5^2): mean 0.29."""
    value = brier(np.array([0, 1]), np.array([[0.8, 0.2], [0.5, 0.5]]))
    assert float(value) == pytest.approx(0.29)


def test_hand_worked_calibration():
    """Four answers at .9 of which three right: gap .15; one at .6 and right: gap .4."""
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]])
    value = ece(np.array([0, 0, 0, 1, 0]), probabilities)
    assert float(value) == pytest.approx(0.8 * 0.15 + 0.2 * 0.4)


def test_certain_and_right_is_best_on_every_score():
    reference = np.array([0, 1, 2, 1])
    certain = np.eye(3)[reference]
    assert float(auroc(reference, certain)) == 1.0
    assert float(brier(reference, certain)) == 0.0
    assert float(ece(reference, certain)) == 0.0


@pytest.mark.parametrize("metric", [auroc, brier, ece])
def test_weights_count_like_repeated_cases(metric):
    rng = np.random.default_rng(1)
    reference = np.arange(24) % 3
    probabilities = rng.dirichlet(np.ones(3), size=24)
    weights = rng.integers(0, 4, (5, 24))
    for value, counts in zip(
        metric(reference, probabilities, weights=weights), weights, strict=True
    ):
        repeated = np.repeat(reference, counts), np.repeat(probabilities, counts, axis=0)
        assert float(value) == pytest.approx(float(metric(*repeated)), abs=1e-12)


def test_equal_to_third_party_tools(shared_data):
    """C3.1, F82: AUROC and Brier as scikit-learn, ECE as MONAI, on 24 stored sets."""
    for entry in json.loads((shared_data("golden_metrics") / "classification.json").read_text()):
        reference, probabilities = np.array(entry["y_true"]), np.array(entry["probabilities"])
        expected = entry["expected"]
        area = float(auroc(reference, probabilities))
        wanted = expected["sklearn"]["auroc_ovr_macro"]
        assert area == pytest.approx(np.nan if wanted is None else wanted, abs=1e-9, nan_ok=True)
        assert float(brier(reference, probabilities)) == pytest.approx(
            expected["sklearn"]["brier_sum"], abs=1e-9
        )
        for bins in (10, 15):
            assert float(ece(reference, probabilities, num_bins=bins)) == pytest.approx(
                expected["monai"][f"ece_{bins}"], abs=1e-6
            ), entry["id"]


def test_hand_worked_kernel_calibration():
    """All at .8, two of four right: each right case sees 1 of 3, each wrong one 2 of 3."""
    probabilities = np.array([[0.8, 0.2]] * 4)
    value = ece_kde(np.array([0, 0, 1, 1]), probabilities)
    assert float(value) == pytest.approx(((0.8 - 1 / 3) + (0.8 - 2 / 3)) / 2)
    assert np.isnan(ece_kde(np.array([0]), probabilities[:1]))


def test_bins_of_calibration_end_at_their_upper_edge():
    """Four bins: .25 lies in the first, .5 in the second, .6 in the third.

    Gaps: |1 - .25|, |0 - .5| and |1 - .6|, one case each.
    """
    chances = np.array([[0.25, 0.25, 0.25, 0.25], [0.5, 0.2, 0.2, 0.1], [0.6, 0.2, 0.1, 0.1]])
    value = ece(np.array([0, 1, 0]), chances, num_bins=4)
    assert float(value) == pytest.approx((0.75 + 0.5 + 0.4) / 3)


def test_a_case_of_the_first_bin_is_not_weighed_against_one_of_the_second():
    """In one bin their gaps of +.75 and -.4 would partly cancel."""
    chances = np.array([[0.25, 0.25, 0.25, 0.25], [0.4, 0.2, 0.2, 0.2]])
    assert float(ece(np.array([0, 1]), chances, num_bins=4)) == pytest.approx((0.75 + 0.4) / 2)


def test_certain_answers_have_neighbours_too():
    """A certain and right case beside a certain and wrong one: each sees the other's."""
    certain = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert float(ece_kde(np.array([0, 1]), certain)) == pytest.approx((1 + 0) / 2)


def test_a_lonely_case_is_held_against_its_nearest_however_far():
    """With a narrow kernel both densities are below the smallest number there is."""
    chances = np.array([[0.5, 0.5], [0.99, 0.01]])
    value = ece_kde(np.array([1, 0]), chances, bandwidth=0.0005)
    assert float(value) == pytest.approx((abs(1 - 0.5) + abs(0 - 0.99)) / 2)


def test_hand_worked_mean_of_precisions_over_classes():
    """Class 0 ranks + - +, class 1 ranks - + -. With a third class nobody has: undefined."""
    truth, first = np.array([0, 0, 1]), np.array([0.9, 0.8, 0.85])
    chances = np.stack([first, 1 - first], axis=1)
    value = macro_average_precision(truth, chances)
    assert float(value) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert np.isnan(macro_average_precision(truth, np.pad(chances, ((0, 0), (0, 1)))))
