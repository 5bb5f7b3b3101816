from segduet.reporting.training_summary import training_summary

TARGETS = [
    {
        "name": "Whole DSC",
        "metric": "segmentation/whole/dsc",
        "threshold": 0.91,
        "direction": "at_least",
        "value": 0.767,
        "ci95": [0.7, 0.8],
        "n": 36,
        "gap": -0.143,
        "status": "FAIL",
        "is_settled": True,
    },
    {
        "name": "Speed-up",
        "metric": "benchmark/speedup_percent",
        "threshold": 10.0,
        "direction": "at_least",
        "value": None,
        "ci95": None,
        "n": None,
        "gap": None,
        "status": "NOT MEASURED",
        "is_settled": False,
        "reason": "no benchmark was run",
    },
]


def run(num_epochs: int, *, validation_slope: float) -> list[dict]:
    return [
        {
            "epoch": e,
            "train": {"loss": 2.0 - 0.01 * e},
            "validation": {
                "loss": 1.5 + validation_slope * e,
                "patch_dice": 0.5 + (0.3 if e == 7 else 0.0),
                "patch_macro_f1": 0.6 if e == 3 else 0.4,
            },
        }
        for e in range(num_epochs)
    ]


def text(history, summary=None) -> str:
    return training_summary("Quiz", history, summary, selected_by="validation/patch_dice")


def test_peaks_have_their_own_epoch_and_best_is_one_epoch():
    """F89: S3 mixed per-metric maxima of different epochs into one 'peak performance'."""
    report = text(run(30, validation_slope=0.0))
    best = report.split("## Best Model")[1].split("## Final")[0]
    assert "**Epoch**: 7" in best
    assert "**validation/patch_macro_f1**: 0.4000" in best
    assert "**Highest validation/patch_dice**: 0.8000 (epoch 7)" in report
    assert "**Highest validation/patch_macro_f1**: 0.6000 (epoch 3)" in report
    assert "**Lowest train/loss**: 1.7100 (epoch 29)" in report
    assert "**Epoch**: 29" in report.split("## Final")[1]


def test_overfitting_is_a_tested_statement():
    overfitted = text(run(30, validation_slope=0.02))
    assert "Signs of overfitting" in overfitted
    assert "Stop earlier or regularise" in overfitted
    assert "Loss gap at epoch 29**: +0.3700 (training 1.7100, validation 2.0800)" in overfitted
    healthy = text(run(30, validation_slope=-0.02))
    assert "No sign of overfitting" in healthy
    assert "Train longer: validation/loss still improves" in healthy
    assert "Too few values" in text(run(3, validation_slope=0.02))


def test_trend_carries_its_statistic():
    report = text(run(30, validation_slope=0.02))
    assert (
        "**validation/loss**: rising, Theil-Sen slope +2.00e-02 per epoch, Mann-Kendall p = 5.5e-07"
        ", epochs 20 to 29, 10 values" in report
    )


def test_targets_in_metric_units_and_unmeasured_apart_from_failed():
    """F84, F56: one definition of gap; S2 and S3 gave -14.4 % and 18.6 % for the same pair."""
    report = text(run(6, validation_slope=0.0), {"targets": TARGETS})
    assert (
        "**Whole DSC**: 0.767 / >= 0.91 [FAIL], gap -0.143, 95 % CI 0.700 to 0.800, n = 36"
        in report
    )
    assert "**Speed-up**: not measured / >= 10 [NOT MEASURED: no benchmark was run]" in report
    actions = report.split("## Next Actions")[1]
    assert "1. Whole DSC misses its target by 0.143" in actions
    assert "2. Measure Speed-up: no benchmark was run." in actions


def test_nothing_recorded_is_said_everywhere():
    """F90: a missing artefact prints 'not measured'."""
    report = text([])
    for heading in ("Best Model", "Final Epoch", "Peak", "Targets", "Training against", "Trend"):
        section = report.split(f"## {heading}")[1].split("##")[0]
        assert "not measured" in section, heading
    assert "segduet evaluate" in report.split("## Next Actions")[1]


def test_without_a_selection_the_last_epoch_is_kept_and_said_so():
    """B09: the default rule selects nothing."""
    history = [{"epoch": 0, "train": {"loss": 1.0}, "validation": {"patch_dice": 0.9}}]
    text = training_summary("run", history, None, selected_by=None)
    block = text.split("## Best Model")[1].split("##")[0]
    assert "nothing was selected" in block
    assert "0.9" not in block
