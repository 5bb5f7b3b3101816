"""Whether a smaller or faster model may stand in for the one it was made from (B14).

Both models answered the same held cases. Masks are compared with those somebody drew, where there
are any, and always with each other; answers with what is true, or else with each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segduet.core.errors import DataError
from segduet.core.scores import CaseScores, Estimate, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.classification import collect_answers
from segduet.evaluation.gate_report import (
    ClassFlip,
    GateBounds,
    GateReport,
    RegionFigures,
    TaskFigures,
)
from segduet.evaluation.intervals import mean_estimate, paired_difference, statistic_estimate
from segduet.evaluation.measures import Measure, task_measures
from segduet.metrics.confusion import ratio
from segduet.metrics.regression import r_squared

#: Sums of float64 stray by far less than this; a loss exactly at its bound must pass.
_ROUNDING = 1e-9

_NOWHERE = "neither model finds the region in any held case"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAnswers:
    """What both models said about the held cases, measured; every list has the same cases.

    Attributes:
        reference: the model it came from, against drawn masks (no regions without) and truth.
        candidate: the smaller or faster model, likewise.
        agreement: regions of the candidate's masks against the other model's; answers unused.
    """

    reference: Sequence[CaseScores]
    candidate: Sequence[CaseScores]
    agreement: Sequence[CaseScores]

    def __post_init__(self) -> None:
        expected = [scores.case for scores in self.reference]
        for scored in (self.candidate, self.agreement):
            differing = sorted(set(expected) ^ {scores.case for scores in scored})
            if differing:
                raise DataError(
                    "accuracy gate",
                    found=f"{len(differing)} cases that only one model answered, first "
                    f"{differing[0]!r}",
                    expected="answers of both models to every held case",
                    remedy="Take the case out of the held ones, or find out why it failed.",
                )
            assert [scores.case for scores in scored] == expected, "cases in another order"
        if not expected:
            raise DataError(
                "accuracy gate",
                found="no held case",
                expected="cases to judge the candidate by",
                remedy="Bring more images or a dataset with a validation fold.",
            )


def judge(
    held: HeldAnswers, *, tasks: Sequence[TaskSpec], bounds: GateBounds, seed: int = 0
) -> GateReport:
    """The verdict on a candidate, with everything it rests on.

    Masks: two empty ones agree and are left out of a mean, so that empty cases do not water a loss
    down; where only one model finds what is not there, the other counts as 1 (`metrics.overlap.dsc`
    has no number for it).

    Args:
        held: both models' answers.
        tasks: the questions both answer.
        bounds: what may be lost.
        seed: of the intervals' resampling.

    Raises:
        DataError: no held case, or one that only one model answered.
    """
    regions = [_region(held, name, seed) for name in _names(held.agreement)]
    figures = [_task(held, task, seed) for task in tasks]
    findings = [
        *(_judge_region(region, bounds) for region in regions),
        *(_judge_task(task, bounds) for task in figures),
    ]
    reasons = [reason for found in findings for reason in found.reasons]
    if regions and all(region.dice.value is None for region in regions):
        reasons.append("no held case shows any region to either model, so masks cannot be judged")
    return GateReport(
        n=len(held.reference),
        num_with_masks=sum(bool(scores.segmentation) for scores in held.reference),
        bounds=bounds,
        regions=tuple(regions),
        tasks=tuple(figures),
        flips=tuple(flip for task in tasks for flip in _flips(held, task)),
        reasons=tuple(reasons),
        not_judged=tuple(sentence for found in findings for sentence in found.not_judged),
        passed=not reasons,
    )


class _Findings(NamedTuple):
    reasons: list[str]
    not_judged: list[str]


class _Pair(NamedTuple):
    case: str
    patient: str
    reference: float
    candidate: float


def _names(scores: Sequence[CaseScores]) -> list[str]:
    return list(dict.fromkeys(name for case in scores for name in case.segmentation))


def _region(held: HeldAnswers, name: str, seed: int) -> RegionFigures:
    pairs = [
        pair
        for both in zip(held.reference, held.candidate, strict=True)
        if (pair := _dsc_pair(*both, name)) is not None
    ]
    agreed = {
        scores.case: (scores.patient, value)
        for scores in held.agreement
        if (value := scores.segmentation[name]["dsc"].value) is not None
    }
    lowest = min(agreed, key=lambda case: (agreed[case][1], case), default="")
    patients, values = [p for p, _ in agreed.values()], [v for _, v in agreed.values()]
    first, second = [p.reference for p in pairs], [p.candidate for p in pairs]
    return RegionFigures(
        name=name,
        reference_dsc=float(np.mean(first)) if pairs else None,
        candidate_dsc=float(np.mean(second)) if pairs else None,
        dsc_change=paired_difference(first, second, [p.patient for p in pairs], seed=seed),
        dice=mean_estimate(values, patients, seed=seed),
        lowest_dice=agreed[lowest][1] if lowest else None,
        lowest_case=lowest,
    )


def _dsc_pair(reference: CaseScores, candidate: CaseScores, name: str) -> _Pair | None:
    """DSC of both models; None where there is no drawn mask, or nothing drawn and nothing found."""
    if name not in reference.segmentation:
        return None
    scores = [_of(reference.segmentation, name), _of(candidate.segmentation, name)]
    if all(score.value is None for score in scores):
        return None
    first, second = (1.0 if score.value is None else score.value for score in scores)
    return _Pair(reference.case, reference.patient, first, second)


def _of(segmentation: Mapping[str, Mapping[str, Score]], name: str) -> Score:
    return segmentation[name]["dsc"]


def _task(held: HeldAnswers, task: TaskSpec, seed: int) -> TaskFigures:
    name = "r2" if task.kind == "regression" else "macro_f1"
    both = [collect_answers(scores, task) for scores in (held.reference, held.candidate)]
    patients = both[0].patients
    measures = [task_measures(task, b.reference, b.probabilities).overall[name] for b in both]
    first, second = (_value(measure, len(patients)) for measure in measures)
    change = statistic_estimate(
        lambda weights: measures[1].statistic(weights) - measures[0].statistic(weights),
        patients,
        seed=seed,
        undefined=measures[0].undefined,
    )
    return TaskFigures(
        name=task.name,
        measure=name,
        reference=first,
        candidate=second,
        change=change,
        agreement=_agreement(held, task, seed),
    )


def _value(measure: Measure, n: int) -> float | None:
    value = float(measure.statistic(np.ones(n))) if n else np.nan
    return None if np.isnan(value) else value


def _agreement(held: HeldAnswers, task: TaskSpec, seed: int) -> Estimate:
    patients = [scores.patient for scores in held.reference]
    first, second = (
        [scores.answers[task.name] for scores in scored]
        for scored in (held.reference, held.candidate)
    )
    if task.kind != "regression":
        same = [float(a.predicted == b.predicted) for a, b in zip(first, second, strict=True)]
        return statistic_estimate(
            lambda weights: ratio(weights @ np.array(same), weights.sum(-1)),
            patients,
            seed=seed,
            undefined="no case is held",
            kind="score",
        )
    before, after = (np.array([a.probabilities[0] for a in answers]) for answers in (first, second))
    return statistic_estimate(
        lambda weights: r_squared(before, after, weights=weights),
        patients,
        seed=seed,
        undefined="the reference model answers every held case with the same number",
    )


def _flips(held: HeldAnswers, task: TaskSpec) -> list[ClassFlip]:
    """Cases answered differently, by name of the case; a regression has none."""
    if task.kind == "regression":
        return []
    pairs = [
        (first.case, first.answers[task.name], second.answers[task.name])
        for first, second in zip(held.reference, held.candidate, strict=True)
    ]
    return [
        ClassFlip(
            case=case,
            task=task.name,
            reference=before.predicted,
            candidate=after.predicted,
            truth=before.reference or None,
        )
        for case, before, after in sorted(pairs, key=lambda pair: pair[0])
        if before.predicted != after.predicted
    ]


def _judge_region(region: RegionFigures, bounds: GateBounds) -> _Findings:
    where, found = f"region {region.name!r}", _Findings([], [])
    change, dice = region.dsc_change.value, region.dice.value
    if change is None:
        found.not_judged.append(f"{where}: DSC, as no held case has a drawn mask with anything")
    elif -change > bounds.max_dsc_loss + _ROUNDING:
        found.reasons.append(
            f"{where}: mean DSC falls from {region.reference_dsc:.4f} to "
            f"{region.candidate_dsc:.4f} (n = {region.dsc_change.n}); at most "
            f"{bounds.max_dsc_loss:g} may be lost"
        )
    if dice is None:
        found.not_judged.append(f"{where}: Dice, as {_NOWHERE}")
    elif dice < bounds.min_dice - _ROUNDING:
        found.reasons.append(
            f"{where}: Dice with the reference model's masks {dice:.4f} (n = {region.dice.n}), "
            f"lowest {region.lowest_dice:.4f} in case {region.lowest_case!r}; at least "
            f"{bounds.min_dice:g} is wanted"
        )
    return found


def _judge_task(task: TaskFigures, bounds: GateBounds) -> _Findings:
    where, found = f"task {task.name!r}", _Findings([], [])
    change, agreement = task.change.value, task.agreement.value
    if change is not None:
        if -change > bounds.max_macro_f1_loss + _ROUNDING:
            found.reasons.append(
                f"{where}: {task.measure} falls from {task.reference:.4f} to "
                f"{task.candidate:.4f} (n = {task.change.n}); at most "
                f"{bounds.max_macro_f1_loss:g} may be lost"
            )
        return found
    found.not_judged.append(f"{where}: {task.measure}, as {task.change.reason}")
    if agreement is None:
        found.reasons.append(f"{where}: cannot be judged, as {task.agreement.reason}")
    elif agreement < bounds.min_agreement - _ROUNDING:
        found.reasons.append(
            f"{where}: agreement with the reference model's answers {agreement:.4f} "
            f"(n = {task.agreement.n}); at least {bounds.min_agreement:g} is wanted"
        )
    return found
