"""`segduet cleanup learn`: which steps improve label maps of cases the network has not seen."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segduet.cleanup.apply import clean
from segduet.cleanup.candidates import candidate_steps
from segduet.cleanup.evidence import Evidence, Trial
from segduet.cleanup.plan import CleanupPlan
from segduet.cleanup.selection import RULE, select_steps
from segduet.cleanup.steps import KeepInside, Step
from segduet.core.errors import DataError
from segduet.core.folders import DataRoot
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.manifest import RunManifest, utc
from segduet.evaluation.intervals import paired_difference
from segduet.io.images import read_label_map
from segduet.metrics.overlap import dsc
from segduet.workflows.out_of_fold import OutOfFold, OutOfFoldCase, collect_out_of_fold


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnRequest:
    """What to learn from.

    Attributes:
        sources: see `collect_out_of_fold`.
        out: the plan to write.
        seed: of the resampling behind the intervals.
        workers: threads.
    """

    sources: Sequence[Path]
    out: Path
    seed: int = 0
    workers: int = 1


def learn_cleanup(root: DataRoot, request: LearnRequest) -> RunManifest:
    """Tries every candidate and writes a plan of those that help; the test split is never read.

    Args:
        root: where the dataset is.
        request: what to learn from.

    Returns:
        The manifest, also written as `<plan>_manifest.json`; its outcome lists every trial.

    Raises:
        RequestError: sources that were not made out of fold, or of several datasets.
        DataError: a label map is missing, damaged or on another grid than its reference.
    """
    started = time.time()
    known = collect_out_of_fold(root, request.sources)
    evidence = _learn(known, request)
    steps = [trial.step for trial in evidence.trials if trial.kept]
    plan = CleanupPlan.of(known.labels, steps, evidence)
    plan.write(request.out)
    content = plan.model_dump(mode="json")
    manifest = RunManifest(
        command="cleanup learn",
        arguments={"sources": [str(s) for s in request.sources], "seed": request.seed},
        outcome={"plan": str(request.out), "steps": content["steps"], **content["evidence"]},
        warnings=[f"{case!r} has no reference mask" for case in known.without_reference],
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out.parent, f"{request.out.stem}_manifest.json")
    return manifest


def _learn(known: OutOfFold, request: LearnRequest) -> Evidence:
    first = read_label_map(known.cases[0].predicted).geometry
    candidates = candidate_steps(known.labels, num_spatial_dims=first.num_spatial_dims)

    def try_steps(kept: Sequence[Step], left: Sequence[Step]) -> list[Trial]:
        with ThreadPoolExecutor(max(1, request.workers)) as pool:
            cases = list(pool.map(lambda c: _measure(c, known.labels, kept, left), known.cases))
        return [
            _trial(step, effects, known, num_kept=len(kept), seed=request.seed)
            for step, effects in zip(left, zip(*cases, strict=True), strict=True)
        ]

    trials = tuple(select_steps(candidates, try_steps))
    return Evidence(
        dataset=known.dataset,
        sources=tuple(str(folder) for folder in known.folders),
        num_cases=len(known.cases),
        rule=RULE,
        num_tried=len(trials),
        trials=trials,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effect:
    """What one step does to one case.

    Attributes:
        without: (regions,) DSC before the step.
        after: (regions,) DSC after it.
        is_changed: whether it changed a voxel.
    """

    without: np.ndarray
    after: np.ndarray
    is_changed: bool


def _measure(
    case: OutOfFoldCase, labels: LabelScheme, kept: Sequence[Step], left: Sequence[Step]
) -> list[_Effect]:
    """The effect of each step left, on top of those kept."""
    predicted, reference = read_label_map(case.predicted), read_label_map(case.reference)
    geometry = predicted.geometry
    _check_grid(case, geometry, reference.geometry)
    truth = reference.array[0]
    before = CleanupPlan.of(labels, kept).clean(
        predicted.array[0], geometry, where=str(case.predicted)
    )
    without = _scores(before.label_map, truth, labels)
    effects = []
    for step in left:
        done = clean(before.label_map, geometry, labels, [step])
        is_changed = done.num_changed[0] > 0
        after = _scores(done.label_map, truth, labels) if is_changed else without
        effects.append(_Effect(without=without, after=after, is_changed=is_changed))
    return effects


def _check_grid(case: OutOfFoldCase, predicted: Geometry, reference: Geometry) -> None:
    differing = predicted.differences(reference)
    if differing:
        raise DataError(
            str(case.predicted),
            found=f"another {', '.join(differing)} than in {case.reference}",
            expected="a label map on the reference's grid",
            remedy="Predict the case again from the dataset's image.",
        )


def _scores(label_map: np.ndarray, truth: np.ndarray, labels: LabelScheme) -> np.ndarray:
    """DSC of every region; one in neither mask counts as found, with 1.

    (Otherwise a step that rightly removes the last voxel would lose the case instead of gaining.)
    """
    counted = truth != labels.ignore_value if labels.ignore_value is not None else np.True_
    found = (
        dsc(labels.mask(truth, region) & counted, labels.mask(label_map, region) & counted).value
        for region in labels.foreground
    )
    return np.array([1.0 if value is None else value for value in found])


def _trial(
    step: Step, effects: Sequence[_Effect], known: OutOfFold, *, num_kept: int, seed: int
) -> Trial:
    """The figures of one step over all cases."""
    without = np.array([effect.without for effect in effects])
    after = np.array([effect.after for effect in effects])
    regions = list(known.labels.foreground)
    # those it acts on, not those it only looks at
    judged = (step.region,) if isinstance(step, KeepInside) else step.named
    own = [regions.index(name) for name in judged]
    return Trial(
        step=step,
        kept_before=num_kept,
        num_changed=sum(effect.is_changed for effect in effects),
        difference=paired_difference(
            without[:, own].mean(axis=1).tolist(),
            after[:, own].mean(axis=1).tolist(),
            [case.patient for case in known.cases],
            seed=seed,
        ),
        by_region=dict(zip(regions, (after - without).mean(axis=0).tolist(), strict=True)),
    )
