"""What the epochs of a training show, as labelled rows for the summary and the analysis (F89).

A peak is printed with its own epoch and never as if one model had reached all peaks. The gap to a
target is defined once: value - target, in the metric's own unit.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segduet.reporting.documents.figures import selection_text
from segduet.reporting.history import History, Series, read_series, undefined_epochs
from segduet.reporting.trend import SIGNIFICANCE, Trend, last_third_trend
from segduet.reporting.wording import NOT_MEASURED, interval_text, number_text

Row = tuple[str, str]
Summary = Mapping[str, Any]

_VALIDATION_LOSS, _TRAINING_LOSS = "validation/loss", "train/loss"
_FAIL, _PASS, _UNKNOWN = "FAIL", "PASS", "NOT MEASURED"


def epoch_rows(history: History, series: Mapping[str, Series]) -> list[Row]:
    """How many epochs there were, with validation, and how long they took."""
    if not history:
        return [("Training Epochs", NOT_MEASURED)]
    validated = {epoch for one in validation_series(series) for epoch in one.epochs}
    first, last = history[0]["epoch"], history[-1]["epoch"]
    rows = [
        ("Training Epochs", f"{len(history)} recorded ({first} to {last})"),
        ("Validation Checkpoints", str(len(validated))),
    ]
    if "seconds" in series:
        rows.append(("Training Time", f"{sum(series['seconds'].values) / 3600:.2f} h"))
    return rows


def best_rows(series: Mapping[str, Series], selected_by: str | None) -> list[Row]:
    """All figures of the epoch whose weights were kept; none where nothing was selected."""
    if selected_by is None:
        return [("Epoch", "the last one: nothing was selected, so no figure is the best of many")]
    if selected_by not in series:
        return [("Epoch", f"{NOT_MEASURED} (no figure {selected_by!r} was recorded)")]
    chosen = series[selected_by]
    epoch, _ = chosen.best
    count = f"{epoch} (best {selected_by}, selected_from = {len(chosen.values)})"
    return [("Epoch", count), *_values_at(figure_series(series), epoch)]


def last_epoch(series: Mapping[str, Series]) -> int | None:
    """The last epoch with any figure; None without figures."""
    return max((one.epochs[-1] for one in figure_series(series)), default=None)


def final_rows(series: Mapping[str, Series]) -> list[Row]:
    """All figures of the last epoch."""
    epoch = last_epoch(series)
    return [] if epoch is None else _values_at(figure_series(series), epoch)


def peak_rows(series: Mapping[str, Series]) -> list[Row]:
    """The best value of each figure with its epoch, and how many values it is the best of."""
    rows = []
    for one in figure_series(series):
        epoch, value = one.best
        word = "Lowest" if one.lower_is_better else "Highest"
        text = f"{value:.4f} (epoch {epoch}, best of {len(one.values)})"
        rows.append((f"{word} {one.name}", text))
    return rows


def target_rows(summary: Summary | None) -> list[dict[str, str]]:
    """Every declared target: `name`, `value`, `wanted`, `status` and `remark`.

    The remark is gap, interval, n and selected_from, or why there is no value.
    """
    selected_from = (summary or {}).get("selected_from")
    return [_target_cells(row, selected_from) for row in _targets(summary)]


def gap_rows(summary: Summary | None) -> list[Row]:
    """What the missed targets are short of."""
    return [
        (row["name"], f"{abs(row['gap']):.3f} short of {row['threshold']:g}")
        for row in _targets(summary, _FAIL)
    ]


def achieved_rows(summary: Summary | None) -> list[Row]:
    """By how much the reached targets are reached, and whether that would likely repeat."""
    settled = {True: "the interval excludes the target", False: "the interval contains the target"}
    return [
        (row["name"], f"reached by {abs(row['gap']):.3f}; {settled[bool(row['is_settled'])]}")
        for row in _targets(summary, _PASS)
    ]


def unmeasured_rows(history: History, summary: Summary | None) -> list[Row]:
    """What has no value at all: another thing than a missed target.

    Targets without a figure, and figures that epochs recorded without a value.
    """
    rows = [(row["name"], f"no value: {row['reason']}") for row in _targets(summary, _UNKNOWN)]
    return rows + [
        (name, f"recorded without a value in {count} of {len(history)} epochs")
        for name, count in _undefined(history).items()
    ]


def overfitting_rows(series: Mapping[str, Series]) -> list[Row]:
    """The gap between the two losses, and what the tests of both say."""
    if _VALIDATION_LOSS not in series or _TRAINING_LOSS not in series:
        both = f"{_TRAINING_LOSS} and {_VALIDATION_LOSS} are both needed"
        return [("Loss gap", f"{NOT_MEASURED}: {both}")]
    training, validation = series[_TRAINING_LOSS], series[_VALIDATION_LOSS]
    epoch, final = validation.epochs[-1], validation.values[-1]
    rows = []
    if (trained := training.at(epoch)) is not None:
        losses = f"(training {trained:.4f}, validation {final:.4f})"
        rows.append((f"Loss gap at epoch {epoch}", f"{final - trained:+.4f} {losses}"))
    best_epoch, lowest = validation.best
    since = f"{final - lowest:+.4f} (lowest {lowest:.4f} at epoch {best_epoch})"
    return [*rows, ("Since the lowest validation loss", since), ("Verdict", _verdict(series))]


def is_overfitting(series: Mapping[str, Series]) -> bool:
    """Whether over the last third training loss falls and validation loss rises, both tested.

    False where either was not recorded.
    """
    if _VALIDATION_LOSS not in series or _TRAINING_LOSS not in series:
        return False
    training = last_third_trend(series[_TRAINING_LOSS])
    validation = last_third_trend(series[_VALIDATION_LOSS])
    return training.direction == "falling" and validation.direction == "rising"


def improving(series: Mapping[str, Series]) -> list[Trend]:
    """Trends of the validation figures that, tested, still get better."""
    trends = [(one, last_third_trend(one)) for one in validation_series(series)]
    return [
        trend
        for one, trend in trends
        if trend.direction == ("falling" if one.lower_is_better else "rising")
    ]


def trend_rows(series: Mapping[str, Series]) -> list[Row]:
    """Direction of every figure over the last third, with its statistic."""
    return [(t.name, trend_text(t)) for t in map(last_third_trend, figure_series(series))]


def trend_text(trend: Trend) -> str:
    """Direction, slope, p, epochs and number of values; or that there are too few."""
    if trend.direction == "unknown":
        return f"too few values for a statement ({trend.num_points})"
    return (
        f"{trend.direction}, Theil-Sen slope {trend.slope:+.2e} per epoch, "
        f"Mann-Kendall p = {trend.p_value:.2g}, epochs {trend.first_epoch} to "
        f"{trend.last_epoch}, {trend.num_points} values"
    )


def actions(history: History, summary: Summary | None) -> list[str]:
    """What to do next, by declared rules and in this order.

    Evaluate whole cases; look into missed targets; measure what was not; settle what passed within
    its interval; confirm a selected model elsewhere; regularise an overfitted training, or train on
    one that still improves; find out why a figure had no value.
    """
    series = read_series(history)
    found = [*_target_actions(summary), *_training_actions(series)]
    found += [
        f"Find out why {name} had no value in {count} epochs: it is not a missed target."
        for name, count in _undefined(history).items()
    ]
    return found or ["Nothing measured here asks for a change; confirm on cases not used so far."]


def _target_actions(summary: Summary | None) -> Iterator[str]:
    if summary is None:
        yield "Evaluate whole cases with segduet evaluate; patch figures are no substitute."
        return
    for row in _targets(summary):
        if row["status"] == _FAIL:
            yield (
                f"{row['name']} misses its target by {abs(row['gap']):.3f}: look at the worst "
                "cases of the report first."
            )
        elif row["status"] == _UNKNOWN:
            yield f"Measure {row['name']}: {row['reason']}."
        elif not row["is_settled"]:
            yield f"{row['name']} passes, but its interval does not exclude the target: more cases."
    if (summary.get("selected_from") or 1) > 1:
        yield (
            f"Evaluate on other cases: the model is the best of {summary['selected_from']} on "
            "these."
        )


def _training_actions(series: Mapping[str, Series]) -> Iterator[str]:
    if is_overfitting(series):
        yield "Stop earlier or regularise: validation loss rises while training loss falls."
    for trend in improving(series)[:1]:
        yield f"Train longer: {trend.name} still improves (p below {SIGNIFICANCE:g})."


def validation_series(series: Mapping[str, Series]) -> list[Series]:
    """Figures measured on validation patches or on full validation cases."""
    return [
        one
        for one in series.values()
        if one.name.startswith(("validation/", "full_case/", "selection/"))
        # the number of cases, no figure
        and one.name != "full_case/n"
    ]


def figure_series(series: Mapping[str, Series]) -> list[Series]:
    """Figures worth a line: those of the training patches, then those of the validation."""
    training = [one for one in series.values() if one.name.startswith("train/")]
    return [*training, *validation_series(series)]


def _verdict(series: Mapping[str, Series]) -> str:
    losses = (series[_TRAINING_LOSS], series[_VALIDATION_LOSS])
    if "unknown" in {last_third_trend(one).direction for one in losses}:
        return "too few values to tell whether the two losses part"
    if is_overfitting(series):
        return "signs of overfitting: training loss falls while validation loss rises"
    return "no sign of overfitting: validation loss does not rise while training loss falls"


def _values_at(figures: Sequence[Series], epoch: int) -> list[Row]:
    found = [(one.name, one.at(epoch)) for one in figures]
    return [
        (name, number_text(v, digits=4) + (" in this epoch" if v is None else ""))
        for name, v in found
    ]


def _undefined(history: History) -> dict[str, int]:
    """Of the figures alone; a setting may well be null."""
    figures = ("train/", "validation/", "full_case/", "selection/")
    return {n: c for n, c in undefined_epochs(history).items() if n.startswith(figures)}


def _targets(summary: Summary | None, status: str | None = None) -> list[Mapping[str, Any]]:
    rows = (summary or {}).get("targets", [])
    return [row for row in rows if status is None or row["status"] == status]


def _target_cells(row: Mapping[str, Any], selected_from: int | None) -> dict[str, str]:
    sign = "\u2265" if row["direction"] == "at_least" else "\u2264"
    remark = (
        row["reason"]
        if row["value"] is None
        else f"gap {row['gap']:+.3f}, {interval_text(row)}, {selection_text(selected_from)}"
    )
    return {
        "name": row["name"],
        "value": number_text(row["value"]),
        "wanted": f"{sign} {row['threshold']:g}",
        "status": row["status"],
        "remark": remark,
    }
