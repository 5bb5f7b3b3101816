from segduet.reporting.history import read_series, undefined_epochs

HISTORY = [
    {"epoch": 0, "train": {"loss": 1.0, "task:kind": 0.7}, "validation": None, "seconds": 3},
    {"epoch": 1, "train": {"loss": float("nan")}, "validation": {"patch_dice": None}},
    {
        "epoch": 2,
        "train": {"loss": 0.5},
        "validation": {"patch_dice": 0.4},
        "note": "x",
        "ok": True,
    },
]


def test_absent_null_and_non_finite_values_leave_gaps():
    """F56: a figure that was not measured is no zero."""
    series = read_series(HISTORY)
    assert set(series) == {"train/loss", "train/task:kind", "validation/patch_dice", "seconds"}
    assert series["train/loss"].epochs == (0, 2)
    assert series["validation/patch_dice"].values == (0.4,)
    assert series["train/loss"].at(1) is None


def test_best_is_lowest_for_losses_and_highest_for_scores():
    series = read_series(
        [
            {"epoch": e, "validation": {"loss": value, "patch_dice": value, "ece": value}}
            for e, value in enumerate([0.4, 0.2, 0.9, 0.2])
        ]
    )
    assert series["validation/loss"].best == (1, 0.2)
    assert series["validation/ece"].best == (1, 0.2)
    assert series["validation/patch_dice"].best == (2, 0.9)


def test_figures_without_a_value_are_counted_by_epoch():
    """F56: absent is not asked for; null or NaN was asked for and has no value."""
    assert undefined_epochs(HISTORY) == {
        "validation": 1,
        "train/loss": 1,
        "validation/patch_dice": 1,
    }
    assert undefined_epochs([{"epoch": 0, "train": {"loss": 1.0}}]) == {}
