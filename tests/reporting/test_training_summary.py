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


def section(report: str, heading: str) -> str:
    """From a heading to the next of its rank."""
    rank = "#" * (len(heading) - len(heading.lstrip("#"))) + " "
    return report.split(f"{heading}\n", 1)[1].split(f"\n{rank}", 1)[0]


def test_peaks_have_their_own_epoch_and_best_is_one_epoch():
    """F89: S3 mixed per-metric maxima of different epochs into one 'peak performance'."""
    report = text(run(30, validation_slope=0.0))
    best = section(report, "## Best Model Performance")
    assert "**Epoch**: 7 (best validation/patch_dice, selected_from = 30)" in best
    assert "**validation/patch_macro_f1**: 0.4000" in best
    peaks = section(report, "## Peak Performance Achieved")
    assert "**Highest validation/patch_dice**: 0.8000 (epoch 7, best of 30)" in peaks
    assert "**Highest validation/patch_macro_f1**: 0.6000 (epoch 3, best of 30)" in peaks
    assert "**Lowest train/loss**: 1.7100 (epoch 29, best of 30)" in peaks
    assert "## Final Training Performance (Epoch 29)\n- **train/loss**: 1.7100" in report


def test_the_layout_is_that_of_the_seed():
    """F89: S3's sections, in its order."""
    report = text(run(6, validation_slope=0.0), {"targets": TARGETS})
    wanted = ["# Quiz - Training Summary", "## Overview", "## Best Model Performance"]
    wanted += ["## Final Training Performance (Epoch 5)", "## Peak Performance Achieved"]
    wanted += ["## Requirements Status", "### Performance vs Targets"]
    wanted += ["### Performance Gaps to Address", "### Current Achievements", "## Action Plan"]
    wanted += ["### Priority 1: Whole DSC"]
    assert [h for h in report.splitlines() if h in wanted] == wanted


def test_overfitting_is_a_tested_statement():
    overfitted = text(run(30, validation_slope=0.02))
    assert "**Verdict**: signs of overfitting" in overfitted
    assert "Stop earlier or regularise" in overfitted
    assert "Loss gap at epoch 29**: +0.3700 (training 1.7100, validation 2.0800)" in overfitted
    healthy = text(run(30, validation_slope=-0.02))
    assert "**Verdict**: no sign of overfitting" in healthy
    assert "Train longer: validation/loss still improves" in healthy
    assert "too few values" in section(
        text(run(3, validation_slope=0.02)), "## Training against Validation"
    )


def test_trend_carries_its_statistic():
    report = text(run(30, validation_slope=0.02))
    assert (
        "**validation/loss**: rising, Theil-Sen slope +2.00e-02 per epoch, Mann-Kendall p = 5.5e-07"
        ", epochs 20 to 29, 10 values" in report
    )


def test_targets_in_metric_units_and_unmeasured_apart_from_failed():
    """F84, F56: one definition of gap; S2 and S3 gave -14.4 % and 18.6 % for the same pair."""
    report = text(run(6, validation_slope=0.0), {"targets": TARGETS, "selected_from": 3})
    assert (
        "**Whole DSC**: 0.767 / \u2265 0.91 [FAIL], gap -0.143, 95 % CI 0.700 to 0.800, n = 36, "
        "selected_from = 3" in report
    )
    assert "**Speed-up**: not measured / \u2265 10 [NOT MEASURED], no benchmark was run" in report
    assert section(report, "### Performance Gaps to Address").strip() == (
        "- **Whole DSC**: 0.143 short of 0.91"
    )
    actions = section(report, "### Next Actions")
    assert "1. Whole DSC misses its target by 0.143" in actions
    assert "2. Measure Speed-up: no benchmark was run." in actions
    assert "3. Evaluate on other cases: the model is the best of 3 on these." in actions


def test_a_missing_metric_is_not_a_missed_target():
    """F56: S2 took 'targets not met' for 'metrics not computed'; these are two lists here."""
    history = run(4, validation_slope=0.0)
    history[2]["validation"]["patch_dice"] = None
    history[3]["early_stopping"] = {"best": None}
    report = text(history, {"targets": TARGETS})
    missing = section(report, "### Missing Metrics (no value; not the same as a missed target)")
    assert "**validation/patch_dice**: recorded without a value in 1 of 4 epochs" in missing
    assert "**Speed-up**: no value: no benchmark was run" in missing
    assert "Whole DSC" not in missing
    assert "early" not in missing
    assert "Find out why validation/patch_dice had no value in 1 epochs" in report


def test_nothing_recorded_is_said_everywhere():
    """F90: a missing artefact prints 'not measured'."""
    report = text([])
    for heading in (
        "## Overview",
        "## Best Model Performance",
        "## Final Training Performance (Epoch not measured)",
        "## Peak Performance Achieved",
        "### Performance vs Targets",
        "## Training against Validation",
        "## Trend over the Last Third",
    ):
        assert "not measured" in section(report, heading), heading
    assert "segduet evaluate" in section(report, "### Next Actions")


def test_without_a_selection_the_last_epoch_is_kept_and_said_so():
    """B09: the default rule selects nothing."""
    history = [{"epoch": 0, "train": {"loss": 1.0}, "validation": {"patch_dice": 0.9}}]
    report = training_summary("run", history, None, selected_by=None)
    block = section(report, "## Best Model Performance")
    assert "nothing was selected" in block
    assert "0.9" not in block


def test_names_from_outside_cannot_write_the_document():
    """A dataset or figure called like a heading, a link or an element shows literally."""
    history = [{"epoch": 0, "validation": {"<script>*x*": 0.25}}]
    report = training_summary("a|b\n# c", history, None, selected_by=None, facts={"[x](y)": "`z`"})
    assert report.startswith("# a\\|b \\# c - Training Summary\n")
    assert r"**validation/\<script\>\*x\***: 0.2500" in report
    assert r"- **\[x\](y)**: \`z\`" in report
