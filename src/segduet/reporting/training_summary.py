"""A training run in plain text: best, final and peak figures, targets, overfitting, next actions.

The layout people know from training logs, with each number from an artefact (F89). A peak is
printed with its own epoch and never as if one model had reached all peaks; patch figures keep
their names.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segduet.reporting.history import History, Series, read_series
from segduet.reporting.trend import SIGNIFICANCE, Trend, last_third_trend
from segduet.reporting.wording import NOT_MEASURED, interval_text, number_text

Summary = Mapping[str, Any]
_VALIDATION_LOSS, _TRAINING_LOSS = "validation/loss", "train/loss"


def training_summary(
    title: str,
    history: History,
    summary: Summary | None,
    *,
    selected_by: str | None,
    facts: Mapping[str, str] | None = None,
) -> str:
    """The summary of a run as Markdown that reads well as plain text.

    Args:
        title: what was trained on what.
        history: lines of `metrics.jsonl`; may be empty.
        summary: content of `summary.json`; None where nothing was evaluated.
        selected_by: name of the series the kept checkpoint was chosen by, such as
            `full_case/score`; None where nothing was chosen and the last epoch is kept.
        facts: rows for the overview, such as parameters and numbers of cases.
    """
    series = read_series(history)
    blocks = [
        (f"# {title} - Training Summary", []),
        ("## Overview", list(_overview(history, series, facts or {}))),
        ("## Best Model (the checkpoint that is kept)", list(_best(series, selected_by))),
        ("## Final Epoch", list(_final(series))),
        (
            "## Peak of Each Figure (from different epochs, not one model)",
            list(_peaks(series)),
        ),
        ("## Targets (whole cases)", list(_targets(summary))),
        ("## Training against Validation", list(_overfitting(series))),
        ("## Trend over the Last Third", list(_trends(series))),
        ("## Next Actions", list(_actions(series, summary))),
    ]
    return "\n\n".join("\n".join([heading, *lines]) for heading, lines in blocks) + "\n"


def _overview(
    history: History, series: Mapping[str, Series], facts: Mapping[str, str]
) -> Iterator[str]:
    if history:
        first, last = history[0]["epoch"], history[-1]["epoch"]
        yield f"- **Epochs**: {len(history)} recorded ({first} to {last})"
    else:
        yield f"- **Epochs**: {NOT_MEASURED}"
    checkpoints = {e for s in _validation(series) for e in s.epochs}
    yield f"- **Epochs with validation**: {len(checkpoints)}"
    if "seconds" in series:
        yield f"- **Training time**: {sum(series['seconds'].values) / 3600:.2f} h"
    yield from (f"- **{name}**: {value}" for name, value in facts.items())


def _best(series: Mapping[str, Series], selected_by: str | None) -> Iterator[str]:
    if selected_by is None:
        yield "- The last epoch: nothing was selected, so no figure is the best of many"
        return
    if selected_by not in series:
        yield f"- **Epoch**: {NOT_MEASURED} (no figure {selected_by!r} was recorded)"
        return
    epoch, _ = series[selected_by].best
    yield f"- **Epoch**: {epoch} (best {selected_by} of {len(series[selected_by].values)})"
    yield from _values_at(_figures(series), epoch)


def _final(series: Mapping[str, Series]) -> Iterator[str]:
    figures = _figures(series)
    if not figures:
        yield f"- {NOT_MEASURED}"
        return
    epoch = max(s.epochs[-1] for s in figures)
    yield f"- **Epoch**: {epoch}"
    yield from _values_at(figures, epoch)


def _values_at(figures: Sequence[Series], epoch: int) -> Iterator[str]:
    for one in figures:
        value = one.at(epoch)
        text = number_text(value, digits=4) + (" in this epoch" if value is None else "")
        yield f"- **{one.name}**: {text}"


def _peaks(series: Mapping[str, Series]) -> Iterator[str]:
    figures = _figures(series)
    if not figures:
        yield f"- {NOT_MEASURED}"
    for one in figures:
        epoch, value = one.best
        word = "Lowest" if one.lower_is_better else "Highest"
        yield f"- **{word} {one.name}**: {value:.4f} (epoch {epoch})"


def _targets(summary: Summary | None) -> Iterator[str]:
    rows = (summary or {}).get("targets", [])
    if not rows:
        yield f"- {NOT_MEASURED}: no targets were judged"
    for row in rows:
        sign = ">=" if row["direction"] == "at_least" else "<="
        wanted = f"{sign} {row['threshold']:g}"
        if row["value"] is None:
            yield f"- **{row['name']}**: {NOT_MEASURED} / {wanted} [NOT MEASURED: {row['reason']}]"
            continue
        yield (
            f"- **{row['name']}**: {row['value']:.3f} / {wanted} [{row['status']}], "
            f"gap {row['gap']:+.3f}, {interval_text(row)}"
        )


def _overfitting(series: Mapping[str, Series]) -> Iterator[str]:
    if _VALIDATION_LOSS not in series or _TRAINING_LOSS not in series:
        yield f"- {NOT_MEASURED}: {_TRAINING_LOSS} and {_VALIDATION_LOSS} are both needed"
        return
    training, validation = series[_TRAINING_LOSS], series[_VALIDATION_LOSS]
    epoch = validation.epochs[-1]
    final, trained = validation.values[-1], training.at(epoch)
    if trained is not None:
        yield (
            f"- **Loss gap at epoch {epoch}**: {final - trained:+.4f} "
            f"(training {trained:.4f}, validation {final:.4f})"
        )
    best_epoch, lowest = validation.best
    yield (
        f"- **Since the lowest validation loss** ({lowest:.4f}, epoch {best_epoch}): "
        f"{final - lowest:+.4f}"
    )
    if "unknown" in {last_third_trend(s).direction for s in (training, validation)}:
        yield "- Too few values to tell whether the two losses part"
    elif is_overfitting(series):
        yield "- **Signs of overfitting**: training loss falls while validation loss rises"
    else:
        yield "- No sign of overfitting: validation loss does not rise while training loss falls"


def is_overfitting(series: Mapping[str, Series]) -> bool:
    """Whether over the last third training loss falls and validation loss rises, both tested.

    False where either was not recorded.
    """
    if _VALIDATION_LOSS not in series or _TRAINING_LOSS not in series:
        return False
    training = last_third_trend(series[_TRAINING_LOSS])
    validation = last_third_trend(series[_VALIDATION_LOSS])
    return training.direction == "falling" and validation.direction == "rising"


def _trends(series: Mapping[str, Series]) -> Iterator[str]:
    figures = _figures(series)
    if not figures:
        yield f"- {NOT_MEASURED}"
    for trend in map(last_third_trend, figures):
        yield f"- **{trend.name}**: {_trend_text(trend)}"


def _trend_text(trend: Trend) -> str:
    if trend.direction == "unknown":
        return f"too few values for a statement ({trend.num_points})"
    return (
        f"{trend.direction}, Theil-Sen slope {trend.slope:+.2e} per epoch, "
        f"Mann-Kendall p = {trend.p_value:.2g}, epochs {trend.first_epoch} to "
        f"{trend.last_epoch}, {trend.num_points} values"
    )


def _actions(series: Mapping[str, Series], summary: Summary | None) -> Iterator[str]:
    actions = [*_target_actions(summary), *_training_actions(series)]
    if not actions:
        actions = ["Nothing measured here asks for a change; confirm on cases not used so far."]
    yield from (f"{number}. {action}" for number, action in enumerate(actions, start=1))


def _target_actions(summary: Summary | None) -> Iterator[str]:
    if summary is None:
        yield "Evaluate whole cases with `segduet evaluate`; patch figures are no substitute."
        return
    for row in summary.get("targets", []):
        if row["status"] == "FAIL":
            yield (
                f"{row['name']} misses its target by {abs(row['gap']):.3f}: look at the worst "
                "cases of the report first."
            )
        elif row["status"] == "NOT MEASURED":
            yield f"Measure {row['name']}: {row['reason']}."
        elif not row["is_settled"]:
            yield f"{row['name']} passes, but its interval does not exclude the target: more cases."


def _training_actions(series: Mapping[str, Series]) -> Iterator[str]:
    if is_overfitting(series):
        yield "Stop earlier or regularise: validation loss rises while training loss falls."
    for one in _validation(series):
        trend = last_third_trend(one)
        if trend.direction == ("falling" if one.lower_is_better else "rising"):
            yield f"Train longer: {one.name} still improves (p < {SIGNIFICANCE:g})."
            return


def _validation(series: Mapping[str, Series]) -> list[Series]:
    return [s for s in series.values() if s.name.startswith(("validation/", "full_case/"))]


def _figures(series: Mapping[str, Series]) -> list[Series]:
    training = [s for s in series.values() if s.name.startswith("train/")]
    return [*training, *_validation(series)]
