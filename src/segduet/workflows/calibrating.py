"""`segduet calibrate learn`: how far the probabilities of a trained model can be trusted (B16)."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.core.scores import CaseScores
from segduet.core.tasks import FINDING_SEPARATOR, TaskSpec
from segduet.dataset.folds import stratified_grouped_folds
from segduet.evaluation.calibration_file import Calibration, TaskCalibration
from segduet.evaluation.calibration_fit import NUM_PARTS, require_enough
from segduet.evaluation.calibration_learning import CalibrationSettings, calibrate_task
from segduet.evaluation.classification import collect_answers
from segduet.evaluation.consistency import ConsistencyRules, has_region, learn_rules
from segduet.io.images import read_label_map
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.reference_dataset import ReferenceDataset
from segduet.workflows.unseen_answers import UnseenAnswers, collect_unseen_answers

Parts = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnCalibrationRequest:
    """What to learn from, and how.

    Attributes:
        sources: see `collect_unseen_answers`.
        out: the file to write.
        settings: levels, rule of abstention and seed.
        tasks: names of the tasks; None takes all but regressions.
        workers: threads.
    """

    sources: Sequence[Path]
    out: Path
    settings: CalibrationSettings
    tasks: Sequence[str] | None = None
    workers: int = 1


def learn_calibration(root: DataRoot, request: LearnCalibrationRequest) -> RunManifest:
    """Learns from validation cases and writes the file; the test split is never read.

    Args:
        root: where the dataset is.
        request: what to learn from, and how.

    Returns:
        The manifest, also written as `<file>_manifest.json`; its outcome holds every figure.

    Raises:
        RequestError: sources that were not made out of fold, an unknown task or a regression, or a
            level that is none.
        DataError: too few cases, an answer that is missing, or a damaged file.
    """
    started = time.time()
    _check_settings(request.settings)
    known = collect_unseen_answers(root, request.sources)
    tasks, warnings = _chosen_tasks(known.tasks, request.tasks)
    require_sets(tasks, request.settings)
    rules = _rules(known.planned, tasks, request.workers)
    learned = tuple(_learned(known, task, rules.get(task.name), request) for task in tasks)
    calibration = Calibration(
        dataset=known.planned.folders.name,
        weights_sha256=known.weights_sha256,
        answered=known.answered,
        tasks=learned,
    )
    calibration.write(request.out)
    manifest = RunManifest(
        command="calibrate learn",
        arguments={
            "sources": [str(source) for source in request.sources],
            "tasks": list(request.tasks) if request.tasks else None,
            "alphas": list(request.settings.levels),
            "least_confidence": request.settings.least_confidence,
            "seed": request.settings.seed,
        },
        outcome={
            "calibration": str(request.out),
            "folders": [str(folder) for folder in known.folders],
            "answered": known.answered.model_dump(mode="json"),
            "tasks": {own.task.name: own.model_dump(mode="json") for own in learned},
        },
        warnings=[*warnings, *(text for own in learned for text in _cautions(own))],
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out.parent, f"{request.out.stem}_manifest.json")
    return manifest


def _check_settings(settings: CalibrationSettings) -> None:
    alphas = settings.levels
    if not alphas or len(set(alphas)) < len(alphas) or not all(0 < a < 1 for a in alphas):
        raise RequestError(
            "--alpha",
            found=f"{list(alphas)}",
            expected="shares above 0 and below 1, each once",
            remedy="Take for example 0.1.",
        )
    least = settings.least_confidence
    if least is not None and not 0 < least < 1:
        raise RequestError(
            "--min-probability",
            found=f"{least:g}",
            expected="a probability above 0 and below 1",
            remedy="Choose one from the curve in an earlier calibration.",
        )


def _chosen_tasks(
    tasks: Sequence[TaskSpec], names: Sequence[str] | None
) -> tuple[list[TaskSpec], list[str]]:
    """The tasks to calibrate, and what must be said about the others."""
    unknown = sorted(set(names or ()) - {task.name for task in tasks})
    asked = [task for task in tasks if names is None or task.name in names]
    chosen = [task for task in asked if task.kind != "regression"]
    if unknown or not chosen or (names is not None and len(chosen) < len(asked)):
        raise RequestError(
            f"--task {', '.join(names)}" if names else "segduet calibrate learn",
            found=f"the task {unknown[0]!r}" if unknown else "a regression, without probabilities",
            expected=f"tasks with classes among {[t.name for t in tasks]}",
            remedy="Choose others with --task.",
        )
    odd = [t for t in chosen if t.has_exclusive_classes and FINDING_SEPARATOR in "".join(t.classes)]
    if odd:
        raise RequestError(
            f"task {odd[0].name!r}",
            found=f"a class with {FINDING_SEPARATOR!r} in its name",
            expected="names without it, as it stands between the classes of a set",
            remedy="Leave the task out with --task.",
        )
    return chosen, [
        f"{task.name!r} is a regression: it has no probabilities to calibrate"
        for task in asked
        if task.kind == "regression"
    ]


def require_sets(tasks: Sequence[TaskSpec], settings: CalibrationSettings) -> None:
    """Checks that levels and a rule of abstention are given only where something has sets.

    Args:
        tasks: those that are calibrated.
        settings: as they were asked for.

    Raises:
        RequestError: they are given for findings alone.
    """
    given = {"--alpha": settings.alphas, "--min-probability": settings.least_confidence}
    idle = [name for name, value in given.items() if value is not None]
    if idle and not any(task.has_exclusive_classes for task in tasks):
        raise RequestError(
            idle[0],
            found=f"findings alone, {[task.name for task in tasks]}, which have no sets",
            expected="a task whose classes exclude one another",
            remedy="Leave the option out, or choose other tasks with --task.",
        )


def _learned(
    known: UnseenAnswers,
    task: TaskSpec,
    rules: ConsistencyRules | None,
    request: LearnCalibrationRequest,
) -> TaskCalibration:
    answers = collect_answers(known.cases, task)
    require_enough(answers, where=", ".join(str(folder) for folder in known.folders))
    judged = [case for case in known.cases if case.answers[task.name].reference]
    parts = _parts(known.planned, task, judged, request.settings.seed)
    in_order = np.array([parts[case.case] for case in judged])
    return calibrate_task(answers, in_order, request.settings, rules)


def _parts(
    planned: PlannedDataset, task: TaskSpec, cases: Sequence[CaseScores], seed: int
) -> Parts:
    """Case -> part of the cross-fitting; patients whole, classes spread."""
    folds = stratified_grouped_folds(
        planned.table,
        task,
        cases=[case.case for case in cases],
        num_folds=NUM_PARTS,
        seed=seed,
    )
    return {case: number for number, fold in enumerate(folds) for case in fold.val}


def _rules(
    planned: PlannedDataset, tasks: Sequence[TaskSpec], workers: int
) -> dict[str, ConsistencyRules]:
    """Task -> what reference masks of the training cases show; test cases are not read."""
    dataset = ReferenceDataset(
        folder=planned.folders.raw, description=planned.description, table=planned.table
    )
    references = dataset.references()
    exclusive = [task for task in tasks if task.has_exclusive_classes]
    regions = {task.evidence_region for task in exclusive}
    masks = {
        record.case: mask
        for record in planned.table
        if record.split != "test" and (mask := references.mask(record.case)) is not None
    }

    def seen(mask: Path) -> dict[str | None, bool]:
        label_map = read_label_map(mask).array[0]
        return {r: has_region(label_map, planned.labels, r) for r in regions}

    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = dict(zip(masks, pool.map(seen, masks.values()), strict=True))
    learned = {}
    for task in exclusive:
        by_class: dict[str, list[tuple[str, bool]]] = {}
        for record in map(planned.table.record, found):
            if label := record.labels.get(task.name):
                seen_here = found[record.case][task.evidence_region]
                by_class.setdefault(label, []).append((record.patient, seen_here))
        if rules := learn_rules(task, by_class):
            learned[task.name] = rules
    return learned


def _cautions(own: TaskCalibration) -> list[str]:
    """What a reader of the figures should know first, one sentence each."""
    cautions = [
        f"{own.task.name!r}, alpha {level.alpha:g}: class {name!r} is in every set, as {why}"
        for level in own.sets
        for name, why in level.always_because.items()
    ]
    evidence: Any = own.evidence  # plain types
    for name, figures in evidence["reliability"].items():
        change = figures["nll"]["difference"]["value"]
        if change >= 0:
            cautions.append(
                f"{name!r}: on cases that its temperature has not seen the log likelihood does "
                "not get better; these probabilities need no scaling, or there are too few cases"
            )
    if evidence["at_bound"]:
        cautions.append(
            f"{own.task.name!r}: a temperature reached the bound of what is believed; "
            "these cases do not tell how certain the answers should be"
        )
    return cautions
