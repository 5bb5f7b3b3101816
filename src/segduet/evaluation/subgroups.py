"""The figures of parts of a cohort: by site, sex, class or size, and how far they lie apart (B19).

N cases, R rounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from segduet.core.scores import CaseScores, Estimate
from segduet.core.tasks import TaskSpec
from segduet.evaluation.classification import collect_answers, estimate_json, interval_kind
from segduet.evaluation.intervals import mean_estimate, statistic_estimate
from segduet.evaluation.measures import Measure, task_measures
from segduet.evaluation.region_values import region_values
from segduet.evaluation.resampling import NUM_PERMUTATIONS, relabelled, share_as_extreme
from segduet.metrics.confusion import ratio

#: A smaller group has its value, but neither an interval nor a part in the gap.
MIN_GROUP_CASES = 5
#: What a gap's p means, for `summary.json`.
GAP_TEXT = (
    f"gap: highest minus lowest value among groups of {MIN_GROUP_CASES} cases or more; p: "
    f"permutation test, groups dealt out anew over patients {NUM_PERMUTATIONS} times, share of "
    "cohorts, this one included, with a gap as large; not corrected for the number of figures"
)
#: Figures of a task that are stated by group, those its kind has.
_TASK_FIGURES = ("macro_f1", "accuracy", "exact_match", "mae")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a cohort, ready to be computed for any part of it.

    Attributes:
        cases: the cases it can be computed from.
        patients: their patients.
        measure: weights (..., N) of these cases -> figure.
        values: (N,) values of the cases whose mean the figure is; None where it is no mean.
        metric: name of the metric.
    """

    cases: tuple[str, ...]
    patients: tuple[str, ...]
    measure: Measure
    metric: str
    values: np.ndarray | None = None


def subgroup_json(
    cases: Sequence[CaseScores],
    groups: Mapping[str, str],
    regions: Sequence[str],
    tasks: Sequence[TaskSpec],
    *,
    seed: int,
) -> dict[str, Any]:
    """Figures by group and the largest gap of each, as `summary.json` holds them.

    DSC of every declared region and of their mean; macro-F1 and accuracy of a task with exclusive
    classes, macro-F1 and the share of all findings right of findings, the mean error of a
    regression. Macro-F1 is undefined in a group that lacks a class, since it would count as 0.

    Args:
        cases: scored cases.
        groups: case -> its group; cases that are missing here are of unknown group.
        regions: declared regions.
        tasks: the questions.
        seed: of resampling and dealing.

    Returns:
        `groups`: group -> `{n_cases, n_patients, figures}`; `gaps`: figure -> `{value, highest,
        lowest, p}` or `{value: null, reason}`; `n_unknown`. Figures are named as targets are.
    """
    figures = _figures(cases, regions, tasks)
    known = [case for case in cases if case.case in groups]
    names = sorted({groups[case.case] for case in known})
    content = {}
    for name in names:
        members = [case for case in known if groups[case.case] == name]
        content[name] = {
            "n_cases": len(members),
            "n_patients": len({case.patient for case in members}),
            "figures": {
                path: estimate_json(_of_group(figure, groups, name, seed=seed))
                for path, figure in figures.items()
            },
        }
    return {
        "n_unknown": len(cases) - len(known),
        "groups": content,
        "gaps": {path: _gap(figure, groups, seed=seed) for path, figure in figures.items()},
    }


def _figures(
    cases: Sequence[CaseScores], regions: Sequence[str], tasks: Sequence[TaskSpec]
) -> dict[str, Figure]:
    found = {}
    owners = {case.case: case.patient for case in cases}
    if any(case.segmentation for case in cases):
        for region, scores in region_values(cases, regions).items():
            defined = {c: s.value for c, s in scores.items() if s.value is not None}
            values = np.array(list(defined.values()))
            found[f"segmentation/{region}/dsc"] = Figure(
                cases=tuple(defined),
                patients=tuple(owners[case] for case in defined),
                measure=_mean_of(values),
                metric="dsc",
                values=values,
            )
    for task in tasks:
        answers = collect_answers(cases, task)
        known = [c for c in cases if task.name in c.answers and c.answers[task.name].reference]
        measures = task_measures(task, answers.reference, answers.probabilities).overall
        for metric in _TASK_FIGURES:
            if metric in measures:
                found[f"classification/{task.name}/{metric}"] = Figure(
                    cases=tuple(case.case for case in known),
                    patients=answers.patients,
                    measure=_of_every_class(measures[metric], task, answers.reference, metric),
                    metric=metric,
                )
    return found


def _mean_of(values: np.ndarray) -> Measure:
    return Measure(
        statistic=lambda weights: ratio(weights @ values, weights.sum(-1)),
        undefined="no case has a value",
    )


def _of_every_class(
    measure: Measure, task: TaskSpec, reference: np.ndarray, metric: str
) -> Measure:
    """The measure, but undefined where cases of a class are missing from a macro mean."""
    if metric != "macro_f1" or not task.has_exclusive_classes:
        return measure
    classes = np.eye(len(task.classes))[reference]

    def statistic(weights: np.ndarray) -> np.ndarray:
        return np.where(((weights @ classes) > 0).all(-1), measure.statistic(weights), np.nan)

    return replace(measure, statistic=statistic, undefined="the group has no case of some class")


def _of_group(figure: Figure, groups: Mapping[str, str], name: str, *, seed: int) -> Estimate:
    is_in = np.array([groups.get(case) == name for case in figure.cases], dtype=bool)
    n, patients = int(is_in.sum()), tuple(np.array(figure.patients, dtype=object)[is_in])
    if n == 0:
        return Estimate(value=None, ci95=None, n=0, reason="no case has a value")
    if n < MIN_GROUP_CASES:
        value = float(figure.measure.statistic(is_in.astype(np.float64)))
        reason = f"fewer than {MIN_GROUP_CASES} cases: too small a group"
        if np.isnan(value):
            return Estimate(value=None, ci95=None, n=n, reason=figure.measure.undefined)
        return Estimate(value=value, ci95=None, n=n, reason=reason)
    if figure.values is not None:
        return mean_estimate(figure.values[is_in].tolist(), patients, seed=seed)

    def statistic(weights: np.ndarray) -> np.ndarray:
        everyone = np.zeros((*weights.shape[:-1], len(is_in)))
        everyone[..., is_in] = weights
        return figure.measure.statistic(everyone)

    denominators = figure.measure.denominators
    return statistic_estimate(
        statistic,
        patients,
        seed=seed,
        undefined=figure.measure.undefined,
        kind=interval_kind(figure.metric),
        denominators=None if denominators is None else denominators[:, is_in],
    )


def _gap(figure: Figure, groups: Mapping[str, str], *, seed: int) -> dict[str, Any]:
    """The largest difference between two groups, and how often chance alone makes one as large."""
    in_group = np.array([groups.get(case, "") for case in figure.cases])
    sizes = {name: int((in_group == name).sum()) for name in sorted(set(groups.values()))}
    large = [name for name, size in sizes.items() if size >= MIN_GROUP_CASES]
    taking_part = np.isin(in_group, large)
    labels = np.array([large.index(g) if g in large else -1 for g in in_group])
    observed = _group_values(figure, labels[None], len(large))[0]
    if np.isnan(observed).any() or len(large) < 2:
        return {
            "value": None,
            "reason": f"needs two groups of {MIN_GROUP_CASES} cases or more, each with a value",
        }
    gap = float(observed.max() - observed.min())
    patients = tuple(np.array(figure.patients, dtype=object)[taking_part])
    rounds = [np.array([gap])]
    for dealt in relabelled(labels[taking_part], patients, seed=seed):
        everyone = np.full((len(dealt), labels.size), -1)
        everyone[:, taking_part] = dealt
        values = _group_values(figure, everyone, len(large))
        rounds.append(values.max(-1) - values.min(-1))
    return {
        "value": gap,
        "highest": large[int(observed.argmax())],
        "lowest": large[int(observed.argmin())],
        "p": share_as_extreme(np.concatenate(rounds), gap),
    }


def _group_values(figure: Figure, labels: np.ndarray, num_groups: int) -> np.ndarray:
    """The figure of every group: (R, groups), NaN where undefined.

    Args:
        figure: what to compute.
        labels: (R, N) number of each case's group, -1 for none.
        num_groups: how many groups there are.
    """
    each = [figure.measure.statistic((labels == g).astype(np.float64)) for g in range(num_groups)]
    return np.stack(each, axis=-1) if each else np.empty((len(labels), 0))
